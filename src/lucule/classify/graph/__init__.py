"""The graph network: classes of localizations and affinities of neighbours."""
