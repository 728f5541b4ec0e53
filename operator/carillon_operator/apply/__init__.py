"""Carries out plans; each module has one kind of effect."""
