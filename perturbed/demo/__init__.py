"""The main job on real data: costs learned from nothing but shortest paths."""
