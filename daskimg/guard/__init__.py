"""What keeps one picture from ending a run: child processes, crashes, limits."""
