//! What Cutover does: the ports that it needs, the driver of deployments, and the use cases. No AWS and no HTTP here;
//! home, the cloud and the simulator differ only in what is plugged into the ports.

pub mod ports;
pub mod table;
