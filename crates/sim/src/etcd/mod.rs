//! An etcd in this world: one linearizable store, and what a server's requests to it and its own tasks are made of.

pub mod kv;
pub mod store;
pub mod tasks;

#[cfg(test)]
mod tests;
