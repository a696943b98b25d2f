"""How gradients are made and used: the engine, learners, clip rules, optimisers and schedules."""
