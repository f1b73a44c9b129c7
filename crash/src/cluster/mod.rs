//! The crash test of a cluster: three servers on an etcd of three members, all real processes on loopback. Servers and
//! members are killed, stopped and cut off while clients work; what was acknowledged must stand.

mod act;
mod clients;
mod etcd;
mod late;
mod relay;
mod rounds;
mod servers;
mod table;

pub(crate) use act::Act;
pub(crate) use rounds::run;
