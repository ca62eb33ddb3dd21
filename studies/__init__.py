"""What a person launches: the study configuration, the studies and the command line."""
