//! The crash test of a cluster: three servers on an etcd of three members, all real processes on loopback. Servers and
//! members are killed, stopped, frozen and cut off while clients work; what was acknowledged must stand.

mod act;
mod clients;
mod disk;
mod etcd;
mod full;
mod happen;
mod large;
mod late;
mod peers;
mod relay;
mod rounds;
mod servers;
mod table;
mod wall;

pub(crate) use act::Act;
pub(crate) use rounds::run;
