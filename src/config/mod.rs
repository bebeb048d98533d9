//! What to measure, and how to serve it: four layers of configuration become one checked plan.
