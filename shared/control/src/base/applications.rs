//! Applications by their ids.

use wire::codedeploy::ComputePlatform;

use super::Base;
use crate::Error;
use crate::rows::{self, Application, ApplicationId, Stored};
use crate::table::Query;

impl Base {
    /// The name of the application with `id`, unless it was deleted.
    pub(crate) async fn application_by_id(&self, id: &str) -> Result<Option<String>, Error> {
        Ok(self.known_application(id).await?.map(|application| application.name))
    }

    /// What the application with `id` runs on.
    pub(crate) async fn platform_of(&self, id: &str) -> Result<ComputePlatform, Error> {
        let found = self.known_application(id).await?;
        Ok(found.map_or(ComputePlatform::Server, |application| application.compute_platform))
    }

    async fn known_application(&self, id: &str) -> Result<Option<Application>, Error> {
        let key = ApplicationId::key_of(id);
        if let Some(by_id) = rows::load::<ApplicationId>(&*self.table, &key).await? {
            let key = Application::key_of(&by_id.row.name);
            let found = rows::load::<Application>(&*self.table, &key).await?;
            if let Some(found) = found.filter(|application| application.row.id == id) {
                return Ok(Some(found.row));
            }
        }
        self.search_application(id).await
    }

    /// Looks for the application with `id` among all of them, and notes its name for the next time. Only for one that an
    /// earlier version made or renamed, that was renamed just now, or that is gone.
    async fn search_application(&self, id: &str) -> Result<Option<Application>, Error> {
        let query = Query::prefix(Application::ALL, "", 1000);
        let all: Vec<Stored<Application>> = rows::load_all(&*self.table, query).await?;
        let Some(found) = all.into_iter().find(|application| application.row.id == id) else {
            return Ok(None);
        };
        let note = [found.unchanged(), rows::put(&found.row.by_id())?];
        self.write_unless_changed(&note).await?;
        Ok(Some(found.row))
    }
}
