//! Each rule of the contract by an example, with its exact events.
