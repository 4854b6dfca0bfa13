"""The one mutable object, a campaign, and its run folder."""
