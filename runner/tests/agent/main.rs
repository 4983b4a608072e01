//! The runner against a home that is only a small HTTP server, with real scripts and real processes.

#[cfg(test)]
mod death;
#[cfg(test)]
mod deleted;
#[cfg(test)]
mod home;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod push;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod traffic;
