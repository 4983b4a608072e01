//! On-premises instances.

use std::collections::BTreeMap;

use wire::codedeploy::{
    AddTagsToOnPremisesInstances, BatchGetOnPremisesInstances, BatchGetOnPremisesInstancesOutput,
    DeregisterOnPremisesInstance, Empty, ErrorName, GetOnPremisesInstance,
    GetOnPremisesInstanceOutput, InstanceInfo, ListOnPremisesInstances,
    ListOnPremisesInstancesOutput, RegisterOnPremisesInstance, RegistrationStatus,
    RemoveTagsFromOnPremisesInstances, Tag,
};

use super::paging::PAGE;
use super::{refuse, text, word};
use crate::rows::{self, IamArn, OnPremises, Stored};
use crate::table::{Condition, Key, Query, Write};
use crate::tags::matches;
use crate::{Error, OperatorApi};

/// Most tags of one instance.
const TAGS_MAX: usize = 10;

fn unknown(name: &str) -> Error {
    let message = format!("No on-premises instance is registered as `{name}`. Register it first.");
    refuse(ErrorName::InstanceNotRegistered, message)
}

fn info(row: OnPremises) -> InstanceInfo {
    let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
    InstanceInfo {
        instance_name: Some(row.name),
        iam_session_arn: row.iam_session_arn,
        iam_user_arn: row.iam_user_arn,
        instance_arn: Some(row.arn),
        register_time: Some(row.registered_at.into()),
        deregister_time: row.deregistered_at.map(Into::into),
        tags: Some(row.tags.into_iter().map(tag).collect()),
    }
}

impl OnPremises {
    fn iam_arn(&self) -> Option<&str> {
        self.iam_user_arn.as_deref().or(self.iam_session_arn.as_deref())
    }
}

impl OperatorApi {
    /// `RegisterOnPremisesInstance`. The name of one that was deregistered can be taken again.
    pub async fn register_on_premises_instance(
        &self,
        request: &RegisterOnPremisesInstance,
    ) -> Result<Empty, Error> {
        let name = text(&request.instance_name);
        let suffix: String = hex::encode(self.base.random::<5>());
        let row = OnPremises {
            name: name.to_owned(),
            arn: self.place.arn("codedeploy", &format!("instance/{name}_{suffix}")),
            iam_user_arn: request.iam_user_arn.clone(),
            iam_session_arn: request.iam_session_arn.clone(),
            registered_at: self.base.now(),
            deregistered_at: None,
            tags: BTreeMap::new(),
            key_hash: None,
            seen_at: None,
        };
        let iam =
            IamArn { arn: row.iam_arn().unwrap_or_default().to_owned(), instance: name.to_owned() };
        loop {
            let known =
                rows::load::<OnPremises>(&*self.base.table, &OnPremises::key_of(name)).await?;
            let put = match known {
                Some(known) if known.row.deregistered_at.is_some() => {
                    Stored { row: row.clone(), version: known.version }.replace()?
                }
                Some(_) => {
                    let message =
                        format!("An on-premises instance is registered as `{name}` already.");
                    return Err(refuse(ErrorName::InstanceNameAlreadyRegistered, message));
                }
                None => rows::create(&row)?,
            };
            if let Some(taken) =
                rows::load::<IamArn>(&*self.base.table, &IamArn::key_of(&iam.arn)).await?
            {
                return Err(arn_taken(request, &taken.row));
            }
            if self.base.write_unless_changed(&[put, rows::create(&iam)?]).await? {
                return Ok(Empty {});
            }
        }
    }

    async fn registered(&self, name: &str) -> Result<Stored<OnPremises>, Error> {
        let found = rows::load::<OnPremises>(&*self.base.table, &OnPremises::key_of(name)).await?;
        found.filter(|host| host.row.deregistered_at.is_none()).ok_or_else(|| unknown(name))
    }

    /// `GetOnPremisesInstance`, also of one that was deregistered.
    pub async fn get_on_premises_instance(
        &self,
        request: &GetOnPremisesInstance,
    ) -> Result<GetOnPremisesInstanceOutput, Error> {
        let name = text(&request.instance_name);
        let found = rows::load::<OnPremises>(&*self.base.table, &OnPremises::key_of(name)).await?;
        let found = found.ok_or_else(|| unknown(name))?;
        Ok(GetOnPremisesInstanceOutput { instance_info: Some(info(found.row)) })
    }

    /// `BatchGetOnPremisesInstances`: those that there are.
    pub async fn batch_get_on_premises_instances(
        &self,
        request: &BatchGetOnPremisesInstances,
    ) -> Result<BatchGetOnPremisesInstancesOutput, Error> {
        let keys = distinct(request.instance_names.as_deref().unwrap_or_default());
        let found = rows::load_many::<OnPremises>(&*self.base.table, &keys).await?;
        let infos = found.into_iter().map(|stored| info(stored.row)).collect();
        Ok(BatchGetOnPremisesInstancesOutput { instance_infos: Some(infos) })
    }

    /// `ListOnPremisesInstances`, by name: those that any of the filters selects, or all without filters.
    pub async fn list_on_premises_instances(
        &self,
        request: &ListOnPremisesInstances,
    ) -> Result<ListOnPremisesInstancesOutput, Error> {
        let status: Option<RegistrationStatus> =
            word(request.registration_status.as_deref(), ErrorName::InvalidRegistrationStatus)?;
        let filters = request.tag_filters.as_deref().unwrap_or_default();
        let wanted = |host: &OnPremises| {
            let registered = host.deregistered_at.is_none();
            status.is_none_or(|status| (status == RegistrationStatus::Registered) == registered)
                && (filters.is_empty() || filters.iter().any(|filter| matches(filter, &host.tags)))
        };
        let mut token = request.next_token.clone();
        loop {
            let query = Query::prefix(OnPremises::ALL, "", PAGE);
            let (mut rows, next) =
                self.page::<OnPremises>("ListOnPremisesInstances", query, token.as_deref()).await?;
            rows.retain(&wanted);
            // Pages of which nothing is left are passed over.
            if !rows.is_empty() || next.is_none() {
                return Ok(ListOnPremisesInstancesOutput {
                    instance_names: Some(rows.into_iter().map(|row| row.name).collect()),
                    next_token: next,
                });
            }
            token = next;
        }
    }

    /// `DeregisterOnPremisesInstance`: removes the tags, and tells active deployments that the host is gone. There need
    /// not be one.
    pub async fn deregister_on_premises_instance(
        &self,
        request: &DeregisterOnPremisesInstance,
    ) -> Result<Empty, Error> {
        let name = text(&request.instance_name);
        let key = OnPremises::key_of(name);
        while let Some(mut known) = rows::load::<OnPremises>(&*self.base.table, &key).await? {
            if known.row.deregistered_at.is_some() {
                break;
            }
            known.row.deregistered_at = Some(self.base.now());
            known.row.tags.clear();
            known.row.key_hash = None;
            let mut writes = vec![known.replace()?];
            if let Some(arn) = known.row.iam_arn() {
                writes.push(Write::Delete(IamArn::key_of(arn), Condition::None));
            }
            if self.base.write_unless_changed(&writes).await? {
                break;
            }
        }
        // Also after a deregistration that was interrupted here.
        self.base.host_gone(name).await?;
        Ok(Empty {})
    }

    /// `AddTagsToOnPremisesInstances`: each tag to each instance, or none to any.
    pub async fn add_tags_to_on_premises_instances(
        &self,
        request: &AddTagsToOnPremisesInstances,
    ) -> Result<Empty, Error> {
        let tags = request.tags.as_deref().unwrap_or_default();
        self.change_tags(&request.instance_names, |known| {
            for tag in tags {
                known.insert(text(&tag.key).to_owned(), text(&tag.value).to_owned());
            }
        })
        .await
    }

    /// `RemoveTagsFromOnPremisesInstances`: each tag from each instance, or none from any.
    pub async fn remove_tags_from_on_premises_instances(
        &self,
        request: &RemoveTagsFromOnPremisesInstances,
    ) -> Result<Empty, Error> {
        let tags = request.tags.as_deref().unwrap_or_default();
        self.change_tags(&request.instance_names, |known| {
            known.retain(|key, value| {
                let same = |tag: &Tag| {
                    text(&tag.key) == key && tag.value.as_ref().is_none_or(|other| other == value)
                };
                !tags.iter().any(same)
            });
        })
        .await
    }

    async fn change_tags(
        &self,
        names: &Option<Vec<String>>,
        change: impl Fn(&mut BTreeMap<String, String>),
    ) -> Result<Empty, Error> {
        let mut names = names.clone().unwrap_or_default();
        names.sort();
        names.dedup();
        loop {
            let mut writes = Vec::new();
            for name in &names {
                let mut host = self.registered(name).await?;
                change(&mut host.row.tags);
                if host.row.tags.len() > TAGS_MAX {
                    let message = format!(
                        "The instance `{name}` would have more than {TAGS_MAX} tags. Remove some first."
                    );
                    return Err(refuse(ErrorName::TagLimitExceeded, message));
                }
                writes.push(host.replace()?);
            }
            if self.base.write_unless_changed(&writes).await? {
                return Ok(Empty {});
            }
        }
    }

    /// Sets the key with which a host's runner polls and claims, as [`crate::hash_of`] gives it.
    ///
    /// # Errors
    /// `InstanceNotRegisteredException`, and those of the table.
    pub async fn set_host_key(&self, name: &str, key_hash: String) -> Result<(), Error> {
        loop {
            let mut host = self.registered(name).await?;
            host.row.key_hash = Some(key_hash.clone());
            if self.base.write_unless_changed(&[host.replace()?]).await? {
                return Ok(());
            }
        }
    }
}

fn distinct(names: &[String]) -> Vec<Key> {
    let mut keys: Vec<Key> = names.iter().map(|name| OnPremises::key_of(name)).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn arn_taken(request: &RegisterOnPremisesInstance, taken: &IamArn) -> Error {
    let name = if request.iam_user_arn.is_some() {
        ErrorName::IamUserArnAlreadyRegistered
    } else {
        ErrorName::IamSessionArnAlreadyRegistered
    };
    let message = format!(
        "`{}` stands for the on-premises instance `{}` already. Use another one, or deregister that instance.",
        taken.arn, taken.instance
    );
    refuse(name, message)
}
