"""The demo: a real purchase log, a made-up CRM around it, and two days of deliveries."""
