//! Placeholder, replaced when the poller lands.
