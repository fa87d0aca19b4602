"""Raw tables to confirmed user profiles: build, deliver and explain, on Spark."""
