"""What all commands share: `stfc3 VERB`, flags, gin configurations, and how a command ends."""
