"""A microscope that finds and images the right objects by itself: facade, simulated devices, plan, ledger, policies."""
