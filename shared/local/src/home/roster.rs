//! Which hosts a home has: adding them, and removing those that are too many.

use std::path::Path;

use control::{Control, hash_of};
use wire::codedeploy::{
    AddTagsToOnPremisesInstances, ApiError, DeregisterOnPremisesInstance, ErrorName,
    RegisterOnPremisesInstance, Tag,
};

use super::error::HomeError;
use super::names::ACCOUNT;
use super::patience::HOSTS_GRACE;
use crate::hosts::layout::{self, Connection, HostFiles};
use crate::hosts::process;
use crate::machine::random;

/// Removes the hosts with a number above `count`: they lose their traffic, are deregistered, and end with all that their
/// hooks have left running. Their directories stay. A removal that was broken off is made again by the next start with so
/// many hosts.
pub(super) async fn remove_surplus(
    control: &Control,
    home: &Path,
    count: u8,
) -> Result<(), HomeError> {
    let surplus = layout::known_hosts(home)?.into_iter().filter(|number| number.get() > count);
    let surplus: Vec<HostFiles> = surplus.map(|number| HostFiles::new(home, number)).collect();
    let mut known = Vec::new();
    for files in &surplus {
        known.extend(Connection::read(files)?.map(|connection| connection.host));
    }
    if !known.is_empty() {
        control.operator_api().take_out_of_traffic(&known).await?;
    }
    for name in known {
        deregister(control, name).await?;
    }
    let home = home.to_owned();
    let stop = move || process::stop_surplus(&home, count, HOSTS_GRACE);
    tokio::task::spawn_blocking(stop).await.map_err(HomeError::Died)??;
    for files in &surplus {
        Connection::remove(files)?;
    }
    Ok(())
}

/// Takes a host out of the home: deployments that go on count it no more.
pub(super) async fn deregister(control: &Control, name: String) -> Result<(), HomeError> {
    let request = DeregisterOnPremisesInstance { instance_name: Some(name) };
    control.operator_api().deregister_on_premises_instance(&request).await?;
    Ok(())
}

/// Registers a host under its name with the tag `home=yes`, and tells it where home is. Doing it again changes only
/// where.
pub(super) async fn register(
    control: &Control,
    files: &HostFiles,
    name: &str,
    api: &str,
) -> Result<(), HomeError> {
    let key = match Connection::read(files)? {
        Some(connection) => connection.key,
        None => hex::encode(random::<32>()),
    };
    let registered = control
        .operator_api()
        .register_on_premises_instance(&RegisterOnPremisesInstance {
            instance_name: Some(name.to_owned()),
            iam_user_arn: Some(format!("arn:aws:iam::{ACCOUNT}:user/home/{name}")),
            iam_session_arn: None,
        })
        .await;
    match registered {
        Err(control::Error::Refused(ApiError {
            name: ErrorName::InstanceNameAlreadyRegistered,
            ..
        })) => {}
        Ok(_) => {
            let tag = Tag { key: Some("home".to_owned()), value: Some("yes".to_owned()) };
            let tags = AddTagsToOnPremisesInstances {
                tags: Some(vec![tag]),
                instance_names: Some(vec![name.to_owned()]),
            };
            control.operator_api().add_tags_to_on_premises_instances(&tags).await?;
        }
        Err(error) => return Err(error.into()),
    }
    control.operator_api().set_host_key(name, hash_of(&key)).await?;
    Connection { api: api.to_owned(), host: name.to_owned(), key }.write(files)?;
    Ok(())
}
