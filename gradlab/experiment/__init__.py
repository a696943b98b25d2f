"""From a spec to its cases, from cases to shared work, and the runner that does it."""
