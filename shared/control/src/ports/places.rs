//! Where deployments act: each in one account and region of AWS, which is the installation's own unless its group says
//! otherwise. A home is one place.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{CloudError, Instances, Traffic};

/// An account and a region: where something is, as its ARN says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The account's twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
}

impl Place {
    /// The partition of AWS that the region is in, as ARNs name it.
    fn partition(&self) -> &'static str {
        const PARTITIONS: [(&str, &str); 8] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-isob-", "aws-iso-b"),
            ("us-isof-", "aws-iso-f"),
            ("us-iso-", "aws-iso"),
            ("eu-isoe-", "aws-iso-e"),
            ("eusc-", "aws-eusc"),
            ("", "aws"),
        ];
        let is_of = |(prefix, _): &&(&str, &str)| self.region.starts_with(prefix);
        PARTITIONS.iter().find(is_of).map_or("aws", |(_, partition)| partition)
    }

    /// The ARN of something of a service in this account and region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let Self { account, region } = self;
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.partition())
    }
}

/// What deployments act on in one place.
#[derive(Clone)]
pub struct Site {
    /// Instances.
    pub instances: Instances,
    /// What carries traffic, and what watches it.
    pub traffic: Traffic,
}

impl Site {
    /// Where there is nothing but hosts that poll.
    pub fn none() -> Self {
        Self { instances: Instances::none(), traffic: Traffic::none() }
    }
}

/// Makes the ports that act in a place which is not the installation's own.
type Elsewhere<P> = Arc<dyn Fn(&Place) -> BoxFuture<'static, Result<P, CloudError>> + Send + Sync>;

/// Ports by where they act. Whoever wants one says where, which a deployment's row knows.
#[derive(Clone)]
pub struct Placed<P> {
    own: P,
    elsewhere: Elsewhere<P>,
}

impl<P: Clone + Send + 'static> Placed<P> {
    /// The ports of an installation that acts in its own account and region alone.
    pub fn own(own: P) -> Self {
        let refused = |place: &Place| {
            let message = format!(
                "it acts in its own account and region alone, and not in account {} and region {}; deploy with an installation there",
                place.account, place.region
            );
            CloudError::Refused {
                service: "this installation",
                operation: "to act elsewhere",
                message,
            }
        };
        Self::with(own, Arc::new(move |place| Box::pin(std::future::ready(Err(refused(place))))))
    }

    /// Ports of the installation's own place, and how those of another one are made.
    pub fn with(own: P, elsewhere: Elsewhere<P>) -> Self {
        Self { own, elsewhere }
    }

    /// The ports that act in `place`; none is the installation's own.
    ///
    /// # Errors
    /// `Refused` where the installation may not act there, `Unavailable` where that cannot be found out now.
    pub async fn at(&self, place: Option<&Place>) -> Result<P, CloudError> {
        match place {
            None => Ok(self.own.clone()),
            Some(place) => (self.elsewhere)(place).await,
        }
    }

    /// The ports that act in the installation's own place.
    pub fn in_own(&self) -> P {
        self.own.clone()
    }

    /// The same with other ports in the installation's own place.
    #[must_use]
    pub fn with_own(&self, own: impl FnOnce(P) -> P) -> Self {
        Self { own: own(self.own.clone()), elsewhere: Arc::clone(&self.elsewhere) }
    }

    /// Some of the ports, or what is made of them, in each place.
    pub fn map<Q: Clone + Send + 'static>(&self, part: fn(P) -> Q) -> Placed<Q> {
        let elsewhere = Arc::clone(&self.elsewhere);
        let made = move |place: &Place| -> BoxFuture<'static, Result<Q, CloudError>> {
            let made = elsewhere(place);
            Box::pin(async move { made.await.map(part) })
        };
        Placed { own: part(self.own.clone()), elsewhere: Arc::new(made) }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn an_arn_names_the_partition_that_its_region_is_in() {
        for (region, expected) in [
            ("eu-central-1", "arn:aws:ecs:eu-central-1:123456789012:service/a/b"),
            ("us-east-1", "arn:aws:ecs:us-east-1:123456789012:service/a/b"),
            ("cn-north-1", "arn:aws-cn:ecs:cn-north-1:123456789012:service/a/b"),
            ("us-gov-west-1", "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:service/a/b"),
            ("us-iso-east-1", "arn:aws-iso:ecs:us-iso-east-1:123456789012:service/a/b"),
            ("us-isob-east-1", "arn:aws-iso-b:ecs:us-isob-east-1:123456789012:service/a/b"),
            ("eusc-de-east-1", "arn:aws-eusc:ecs:eusc-de-east-1:123456789012:service/a/b"),
        ] {
            let place = Place { account: "123456789012".to_owned(), region: region.to_owned() };
            assert_eq!(place.arn("ecs", "service/a/b"), expected);
        }
    }
}
