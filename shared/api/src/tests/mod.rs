//! The router from outside: what clients and hosts send, and what they get.

mod bundles;
mod catalog;
mod copies;
mod costs;
mod deployments;
mod down;
mod ecs;
mod exchange;
mod hosts;
mod lambda;
mod named;
mod old_hosts;
mod places;
mod protocol;
mod reach;
mod table;
mod traffic;
mod world;
mod zones;
