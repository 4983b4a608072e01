//! Applications.

use wire::codedeploy::{
    ApplicationInfo, BatchGetApplications, BatchGetApplicationsOutput, ComputePlatform,
    CreateApplication, CreateApplicationOutput, DeleteApplication, Empty, ErrorName,
    GetApplication, GetApplicationOutput, ListApplications, ListApplicationsOutput,
    UpdateApplication,
};

use super::paging::PAGE;
use super::{refuse, text, word};
use crate::rows::{self, Application, ApplicationId, GroupName, RegisteredRevision, Row, Stored};
use crate::table::{Condition, Query, Write};
use crate::{Error, OperatorApi};

fn taken(name: &str) -> Error {
    refuse(
        ErrorName::ApplicationAlreadyExists,
        format!("An application is called `{name}` already."),
    )
}

fn info(application: Application) -> ApplicationInfo {
    ApplicationInfo {
        application_id: Some(application.id),
        application_name: Some(application.name),
        create_time: Some(application.created_at.into()),
        linked_to_git_hub: Some(false),
        git_hub_account_name: None,
        compute_platform: Some(application.compute_platform),
    }
}

impl OperatorApi {
    /// `CreateApplication`.
    pub async fn create_application(
        &self,
        request: &CreateApplication,
    ) -> Result<CreateApplicationOutput, Error> {
        let name = text(&request.application_name);
        let platform =
            word(request.compute_platform.as_deref(), ErrorName::InvalidComputePlatform)?;
        let row = Application {
            id: self.new_uuid().to_string(),
            name: name.to_owned(),
            created_at: self.base.now(),
            compute_platform: platform.unwrap_or(ComputePlatform::Server),
            tags: request.tags.clone().unwrap_or_default(),
            deleting: false,
        };
        let create = [rows::create(&row)?, rows::create(&row.by_id())?];
        while !self.base.write_unless_changed(&create).await? {
            let key = Application::key_of(name);
            match rows::load::<Application>(&*self.base.table, &key).await? {
                // A deletion was interrupted: it is brought to its end first.
                Some(known) if known.row.deleting => self.purge(&known).await?,
                Some(_) => return Err(taken(name)),
                None => {}
            }
        }
        Ok(CreateApplicationOutput { application_id: Some(row.id) })
    }

    /// `GetApplication`.
    pub async fn get_application(
        &self,
        request: &GetApplication,
    ) -> Result<GetApplicationOutput, Error> {
        let found = self.application(text(&request.application_name)).await?;
        Ok(GetApplicationOutput { application: Some(info(found.row)) })
    }

    /// `BatchGetApplications`: all or none.
    pub async fn batch_get_applications(
        &self,
        request: &BatchGetApplications,
    ) -> Result<BatchGetApplicationsOutput, Error> {
        let mut infos = Vec::new();
        for name in request.application_names.iter().flatten() {
            infos.push(info(self.application(name).await?.row));
        }
        Ok(BatchGetApplicationsOutput { applications_info: Some(infos) })
    }

    /// `ListApplications`, by name.
    pub async fn list_applications(
        &self,
        request: &ListApplications,
    ) -> Result<ListApplicationsOutput, Error> {
        let query = Query::prefix(Application::ALL, "", PAGE);
        let (rows, next_token) = self
            .page::<Application>("ListApplications", query, request.next_token.as_deref())
            .await?;
        let names = rows.into_iter().filter(|row| !row.deleting).map(|row| row.name).collect();
        Ok(ListApplicationsOutput { applications: Some(names), next_token })
    }

    /// `UpdateApplication`: gives an application another name. Everything else is under its id and stays.
    pub async fn update_application(&self, request: &UpdateApplication) -> Result<Empty, Error> {
        let name = text(&request.application_name);
        loop {
            let known = self.application(name).await?;
            let Some(new) = request.new_application_name.as_deref() else { return Ok(Empty {}) };
            if rows::load::<Application>(&*self.base.table, &Application::key_of(new))
                .await?
                .is_some()
            {
                return Err(taken(new));
            }
            let renamed = Application { name: new.to_owned(), ..known.row.clone() };
            let writes = [known.remove(), rows::create(&renamed)?, rows::put(&renamed.by_id())?];
            if self.base.write_unless_changed(&writes).await? {
                return Ok(Empty {});
            }
        }
    }

    /// `DeleteApplication`, with its groups, subscriptions, revisions and deployments. There need not be one.
    pub async fn delete_application(&self, request: &DeleteApplication) -> Result<Empty, Error> {
        let key = Application::key_of(text(&request.application_name));
        while let Some(mut known) = rows::load::<Application>(&*self.base.table, &key).await? {
            if !known.row.deleting {
                // From here on nobody finds it, and nothing can be added to it.
                known.row.deleting = true;
                if !self.base.write_unless_changed(&[known.replace()?]).await? {
                    continue;
                }
                known.version += 1;
            }
            self.purge(&known).await?;
        }
        Ok(Empty {})
    }

    /// Deletes what belongs to an application that is being deleted, and at last the application. May be interrupted
    /// anywhere and begun again.
    async fn purge(&self, application: &Stored<Application>) -> Result<(), Error> {
        let id = &application.row.id;
        let query = Query::prefix(GroupName::all_of(id), "", PAGE);
        for group in rows::load_all::<GroupName>(&*self.base.table, query).await? {
            self.delete_deployments(&group.row.id).await?;
            self.delete_group(&application.row, &group.row.name).await?;
            // An upload may have started one more until the group was gone.
            self.delete_deployments(&group.row.id).await?;
        }
        let query = Query::prefix(RegisteredRevision::all_of(id), "", PAGE);
        let revisions = rows::load_all::<RegisteredRevision>(&*self.base.table, query).await?;
        for page in revisions.chunks(PAGE) {
            let deletes: Vec<Write> = page
                .iter()
                .map(|stored| Write::Delete(stored.row.key(), Condition::None))
                .collect();
            self.base.table.write(&deletes).await?;
        }
        let by_id = Write::Delete(ApplicationId::key_of(id), Condition::None);
        self.base.write_unless_changed(&[application.remove(), by_id]).await?;
        Ok(())
    }
}
