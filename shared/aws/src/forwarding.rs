//! The weights of two target groups: in the one forward action that has both, of a listener or of one of its rules; or,
//! where a listener is named, in all of its forward actions that have one of the two.
//!
//! A rule of a header is a cohort's: whoever it matches gets the new one as soon as that gets anything at all.
//!
//! Modifying a listener or a rule replaces its actions. So they are read, changed at the two weights and nowhere else, and
//! sent back whole.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ForwardActionConfig, RuleCondition, TargetGroupTuple,
};
use control::ports::{BalancerError, Pair, Wanted};

use crate::balancers::{TargetGroups, at_once, refused};

/// A listener or a rule, and its actions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forwarding {
    place: Place,
    actions: Vec<Action>,
    /// Whether it is of requests with a certain header, a cookie for example.
    is_cohort: bool,
}

impl Forwarding {
    /// How much of its requests the new one is to get, if that gets `percent` of all others.
    fn share(&self, percent: u8) -> u8 {
        if self.is_cohort && percent > 0 { 100 } else { percent }
    }
}

/// Where actions are kept, by ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Listener(String),
    Rule(String),
}

impl Place {
    fn arn(&self) -> &str {
        let (Self::Listener(arn) | Self::Rule(arn)) = self;
        arn
    }
}

/// The ARNs of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arns {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// The weights of a pair in a forward action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weights {
    old: i32,
    new: i32,
    /// Whether other target groups have a share, too.
    has_others: bool,
}

/// The weight of a target group that was given none.
const UNSAID: i32 = 1;

impl TargetGroups {
    /// Sets the weights of a pair, as long as that is wanted.
    pub(crate) async fn set_percent(
        &self,
        pair: &Pair,
        percent: u8,
        wanted: Option<&dyn Wanted>,
    ) -> Result<(), BalancerError> {
        let (arns, found) = self.forwarding_of(pair).await?;
        for one in &found {
            let changed = with_percent(&one.actions, &arns, one.share(percent));
            let Some(actions) = changed.map_err(|message| refused(&pair.new, &message))? else {
                continue;
            };
            // What was read may have taken its time, and the change before this one too.
            if let Some(wanted) = wanted
                && !wanted.is_wanted().await
            {
                return Ok(());
            }
            self.modify(pair, &one.place, actions).await?;
        }
        Ok(())
    }

    /// The listeners and rules that send traffic to a target group, by their ARNs.
    pub(crate) async fn senders_of(&self, name: &str) -> Result<Vec<String>, BalancerError> {
        let known = self.ask_for(name).await?;
        let mut senders = Vec::new();
        for load_balancer in &known.load_balancers {
            for Forwarding { place, actions, .. } in self.all_of(name, load_balancer).await? {
                if actions.iter().any(|action| sends_to(action, &known.arn)) {
                    senders.push(place.arn().to_owned());
                }
            }
        }
        Ok(senders)
    }

    async fn modify(
        &self,
        pair: &Pair,
        place: &Place,
        actions: Vec<Action>,
    ) -> Result<(), BalancerError> {
        let actions = Some(actions);
        match place {
            Place::Listener(arn) => {
                let request = self.client.modify_listener().listener_arn(arn);
                let request = request.set_default_actions(actions).customize();
                let modified = request.config_override(at_once()).send().await;
                modified.map(drop).map_err(|error| self.error(&pair.new, "ModifyListener", error))
            }
            Place::Rule(arn) => {
                let request = self.client.modify_rule().rule_arn(arn).set_actions(actions);
                let modified = request.customize().config_override(at_once()).send().await;
                modified.map(drop).map_err(|error| self.error(&pair.new, "ModifyRule", error))
            }
        }
    }

    pub(crate) async fn read_percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        let (arns, found) = self.forwarding_of(pair).await?;
        let of = |one: &Forwarding| {
            let weights = one.actions.iter().filter_map(|action| weights_of(action, &arns));
            weights.filter_map(percent_of).max()
        };
        // The new one has as much as it has anywhere, and not nothing while a cohort gets it.
        let (cohorts, others): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.is_cohort);
        let has_cohort = cohorts.into_iter().filter_map(of).any(|percent| percent > 0);
        let percent = others.into_iter().filter_map(of).max();
        percent
            .map(|percent| percent.max(u8::from(has_cohort)))
            .ok_or_else(|| refused(&pair.new, "neither of the two target groups has a weight"))
    }

    /// The one listener or rule that forwards to both target groups of a pair; or all of the listener that is named.
    async fn forwarding_of(&self, pair: &Pair) -> Result<(Arns, Vec<Forwarding>), BalancerError> {
        // Anew, because a listener may have been given to one of them since.
        let (old, new) = (self.ask_for(&pair.old).await?, self.ask_for(&pair.new).await?);
        let arns = Arns { old: old.arn, new: new.arn };
        if let Some(listener) = &pair.listener {
            let found = self.forwardings_of(pair, listener, &arns).await?;
            return Ok((arns, found));
        }
        let mut found = Vec::new();
        let balancers: BTreeSet<&String> = old.load_balancers.iter().collect();
        for balancer in balancers.into_iter().filter(|arn| new.load_balancers.contains(arn)) {
            self.collect(&pair.new, balancer, &arns, &mut found).await?;
        }
        let found = only(found, pair).map_err(|message| refused(&pair.new, &message))?;
        Ok((arns, found))
    }

    /// All of a listener that forwards to one of a pair, as if it forwarded to both.
    async fn forwardings_of(
        &self,
        pair: &Pair,
        listener: &str,
        arns: &Arns,
    ) -> Result<Vec<Forwarding>, BalancerError> {
        let described = self.client.describe_listeners().listener_arns(listener).send().await;
        let described =
            described.map_err(|error| self.error(&pair.new, "DescribeListeners", error))?;
        let mut found = Vec::new();
        for listener in described.listeners.unwrap_or_default() {
            let (arn, actions) = (listener.listener_arn, listener.default_actions);
            let place = Place::Listener(arn.unwrap_or_default());
            let actions = actions.unwrap_or_default();
            found.push(Forwarding { place, actions, is_cohort: false });
        }
        found.extend(self.rules_of(&pair.new, listener).await?);
        let mut completed = Vec::new();
        for Forwarding { place, actions, is_cohort } in found {
            if actions.iter().any(|action| has_one(action, arns)) {
                let actions = actions.into_iter().map(|action| with_both(action, arns)).collect();
                completed.push(Forwarding { place, actions, is_cohort });
            }
        }
        if completed.iter().all(|one| one.is_cohort) {
            let Pair { old, new, .. } = pair;
            let message = format!(
                "the listener `{listener}` forwards to neither `{old}` nor `{new}`: have it forward to one"
            );
            return Err(refused(&pair.new, &message));
        }
        Ok(completed)
    }

    /// The rules of a listener but the default one, which is what the listener itself does.
    async fn rules_of(&self, name: &str, listener: &str) -> Result<Vec<Forwarding>, BalancerError> {
        let mut pages = self.client.describe_rules().listener_arn(listener).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error(name, "DescribeRules", error))?;
            for rule in page.rules.unwrap_or_default() {
                if let (Some(arn), false) = (rule.rule_arn, rule.is_default == Some(true)) {
                    let is_cohort = is_of_header(&rule.conditions.unwrap_or_default());
                    let actions = rule.actions.unwrap_or_default();
                    found.push(Forwarding { place: Place::Rule(arn), actions, is_cohort });
                }
            }
        }
        Ok(found)
    }

    /// The listeners and rules of a load balancer that forward to both.
    async fn collect(
        &self,
        name: &str,
        load_balancer: &str,
        arns: &Arns,
        found: &mut Vec<Forwarding>,
    ) -> Result<(), BalancerError> {
        let has_both =
            |actions: &[Action]| actions.iter().any(|action| weights_of(action, arns).is_some());
        let all = self.all_of(name, load_balancer).await?;
        found.extend(all.into_iter().filter(|one| has_both(&one.actions)));
        Ok(())
    }

    /// All listeners and rules of a load balancer.
    async fn all_of(
        &self,
        name: &str,
        load_balancer: &str,
    ) -> Result<Vec<Forwarding>, BalancerError> {
        let request = self.client.describe_listeners().load_balancer_arn(load_balancer);
        let mut pages = request.into_paginator().send();
        let mut listeners = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error(name, "DescribeListeners", error))?;
            listeners.extend(page.listeners.unwrap_or_default());
        }
        let mut all = Vec::new();
        for listener in listeners {
            let Some(arn) = listener.listener_arn else { continue };
            all.extend(self.rules_of(name, &arn).await?);
            let actions = listener.default_actions.unwrap_or_default();
            all.push(Forwarding { place: Place::Listener(arn), actions, is_cohort: false });
        }
        Ok(all)
    }
}

/// Whether conditions of a rule are about a header: then those that it matches are a cohort.
fn is_of_header(conditions: &[RuleCondition]) -> bool {
    conditions.iter().any(|condition| condition.field.as_deref() == Some("http-header"))
}

/// Those that forward to both, of which all but one are of cohorts.
fn only(found: Vec<Forwarding>, pair: &Pair) -> Result<Vec<Forwarding>, String> {
    let Pair { old, new, .. } = pair;
    let mut places = found.iter().filter(|one| !one.is_cohort).map(|one| one.place.arn());
    match (places.next(), places.next()) {
        (Some(_), None) => Ok(found),
        (None, _) => Err(format!(
            "no listener and no rule forwards to both `{old}` and `{new}`: give one a forward action with the two"
        )),
        (Some(one), Some(other)) => Err(format!(
            "`{old}` and `{new}` share traffic in more than one place, and it is not said which one is meant: `{one}`, \
             `{other}`"
        )),
    }
}

/// The weights of a pair in an action, if it forwards to both.
fn weights_of(action: &Action, arns: &Arns) -> Option<Weights> {
    let groups = action.forward_config.as_ref()?.target_groups.as_deref()?;
    let weight = |arn: &str| {
        let group = groups.iter().find(|group| group.target_group_arn.as_deref() == Some(arn))?;
        Some(group.weight.unwrap_or(UNSAID))
    };
    let is_other = |arn: Option<&str>| arn != Some(&arns.old) && arn != Some(&arns.new);
    Some(Weights {
        old: weight(&arns.old)?,
        new: weight(&arns.new)?,
        has_others: groups.iter().any(|group| is_other(group.target_group_arn.as_deref())),
    })
}

/// The target groups that an action forwards to.
fn groups_of(action: &Action) -> Vec<TargetGroupTuple> {
    let weighted = action.forward_config.as_ref().and_then(|config| config.target_groups.clone());
    let single = action.target_group_arn.clone();
    weighted.filter(|groups| !groups.is_empty()).unwrap_or_else(|| {
        let only = |arn| TargetGroupTuple::builder().target_group_arn(arn).weight(UNSAID).build();
        single.into_iter().map(only).collect()
    })
}

/// Whether an action sends traffic to a target group. The only one of an action gets all of it, whatever its weight.
fn sends_to(action: &Action, arn: &str) -> bool {
    let groups = groups_of(action);
    let is_only = groups.len() == 1;
    let mut of_arn = groups.iter().filter(|group| group.target_group_arn.as_deref() == Some(arn));
    of_arn.any(|group| is_only || group.weight.unwrap_or(UNSAID) > 0)
}

/// Whether an action forwards to one of a pair.
fn has_one(action: &Action, arns: &Arns) -> bool {
    let is_one = |arn: Option<&str>| arn == Some(&arns.old) || arn == Some(&arns.new);
    groups_of(action).iter().any(|group| is_one(group.target_group_arn.as_deref()))
}

/// An action that forwards to one of a pair, as one that forwards to both; any other one as it is.
fn with_both(mut action: Action, arns: &Arns) -> Action {
    if !has_one(&action, arns) {
        return action;
    }
    let mut groups = groups_of(&action);
    for arn in [&arns.old, &arns.new] {
        if !groups.iter().any(|group| group.target_group_arn.as_ref() == Some(arn)) {
            groups.push(TargetGroupTuple::builder().target_group_arn(arn).weight(0).build());
        }
    }
    let sticky = action.forward_config.and_then(|config| config.target_group_stickiness_config);
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups));
    action.forward_config = Some(config.set_target_group_stickiness_config(sticky).build());
    action
}

/// How much of what both get goes to the new one.
fn percent_of(Weights { old, new, .. }: Weights) -> Option<u8> {
    let total = old.checked_add(new).filter(|total| *total > 0)?;
    u8::try_from((new * 100 + total / 2) / total).ok()
}

/// The weights with which the new one gets `percent` of what both get. What other target groups get stays as it is.
fn shared(known: Weights, percent: u8) -> Result<Weights, String> {
    let percent = i32::from(percent.min(100));
    let total = if known.has_others { known.old.saturating_add(known.new) } else { 100 };
    if total <= 0 || total * percent % 100 != 0 {
        return Err(format!(
            "the two have the weight {total} together beside other target groups, of which {percent} % is no whole number: \
             give them 100 together"
        ));
    }
    let new = total * percent / 100;
    Ok(Weights { old: total - new, new, ..known })
}

/// The actions with which the new one gets `percent`; none if it has that.
fn with_percent(
    actions: &[Action],
    arns: &Arns,
    percent: u8,
) -> Result<Option<Vec<Action>>, String> {
    let mut changed = actions.to_vec();
    let mut is_new = false;
    for action in &mut changed {
        if let Some(oidc) = &mut action.authenticate_oidc_config {
            // The secret is never told; unless it is said to stay, it would have to be given again.
            oidc.client_secret = None;
            oidc.use_existing_client_secret = Some(true);
        }
        let Some(known) = weights_of(action, arns) else { continue };
        let wanted = shared(known, percent)?;
        is_new |= wanted != known;
        // With several target groups, the place for a single one has to stay empty.
        action.target_group_arn = None;
        let groups = action.forward_config.as_mut().and_then(|of| of.target_groups.as_mut());
        for group in groups.into_iter().flatten() {
            if group.target_group_arn.as_deref() == Some(&arns.old) {
                group.weight = Some(wanted.old);
            } else if group.target_group_arn.as_deref() == Some(&arns.new) {
                group.weight = Some(wanted.new);
            }
        }
    }
    Ok(is_new.then_some(changed))
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        ActionTypeEnum, AuthenticateOidcActionConfig, TargetGroupStickinessConfig,
    };

    use super::*;

    fn arns() -> Arns {
        Arns { old: "blue".to_owned(), new: "green".to_owned() }
    }

    fn forward(weights: &[(&str, i32)]) -> Action {
        let groups = weights.iter().map(|(arn, weight)| {
            TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build()
        });
        let sticky = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60);
        let config = ForwardActionConfig::builder()
            .set_target_groups(Some(groups.collect()))
            .target_group_stickiness_config(sticky.build());
        let action = Action::builder().r#type(ActionTypeEnum::Forward).order(2);
        action.forward_config(config.build()).build()
    }

    fn weights(action: &Action) -> Vec<(&str, i32)> {
        let groups = action.forward_config().unwrap().target_groups().iter();
        groups.map(|of| (of.target_group_arn().unwrap(), of.weight().unwrap())).collect()
    }

    #[test]
    fn a_percentage_is_set_and_read_back_and_nothing_else_is_changed() {
        let mut action = forward(&[("blue", 1), ("green", 0)]);
        for percent in [1, 5, 50, 99, 100, 0] {
            let changed = with_percent(std::slice::from_ref(&action), &arns(), percent);
            let changed = changed.unwrap().unwrap().remove(0);
            let new = i32::from(percent);
            assert_eq!(weights(&changed), [("blue", 100 - new), ("green", new)]);
            assert_eq!(percent_of(weights_of(&changed, &arns()).unwrap()), Some(percent));
            let sticky = |action: &Action| {
                action.forward_config().unwrap().target_group_stickiness_config().cloned()
            };
            assert_eq!(sticky(&changed), sticky(&action));
            assert_eq!((changed.order(), changed.r#type()), (action.order(), action.r#type()));
            action = changed;
        }
        let again = with_percent(std::slice::from_ref(&action), &arns(), 0).unwrap();
        assert_eq!(again, None, "what is so is not set again");
    }

    #[test]
    fn other_target_groups_keep_their_weights() {
        let action = forward(&[("blue", 60), ("other", 7), ("green", 40)]);
        let changed = with_percent(&[action], &arns(), 25).unwrap().unwrap();
        assert_eq!(weights(&changed[0]), [("blue", 75), ("other", 7), ("green", 25)]);
        let coarse = forward(&[("blue", 1), ("other", 1), ("green", 1)]);
        let why = with_percent(std::slice::from_ref(&coarse), &arns(), 25).unwrap_err();
        assert!(why.contains("give them 100 together"), "{why}");
        let all = with_percent(&[coarse], &arns(), 100).unwrap().unwrap();
        assert_eq!(weights(&all[0]), [("blue", 0), ("other", 1), ("green", 2)]);
    }

    #[test]
    fn an_authentication_before_it_keeps_its_secret() {
        let oidc = AuthenticateOidcActionConfig::builder().client_id("shop").issuer("https://id");
        let login = Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).order(1);
        let login = login.authenticate_oidc_config(oidc.build()).build();
        let actions = [login, forward(&[("blue", 100), ("green", 0)])];
        let changed = with_percent(&actions, &arns(), 10).unwrap().unwrap();
        let oidc = changed[0].authenticate_oidc_config().unwrap();
        assert_eq!(oidc.use_existing_client_secret(), Some(true));
        assert_eq!((oidc.client_id(), oidc.issuer()), (Some("shop"), Some("https://id")));
        assert_eq!(changed.len(), 2);
    }

    #[test]
    fn a_pair_has_to_share_traffic_in_one_place_and_no_more() {
        let pair = Pair { old: "blue".to_owned(), new: "green".to_owned(), listener: None };
        let at = |place: Place| Forwarding {
            place,
            actions: vec![forward(&[("blue", 100), ("green", 0)])],
            is_cohort: false,
        };
        let (listener, rule) = (Place::Listener("front".into()), Place::Rule("beta".into()));
        assert_eq!(only(vec![at(rule.clone())], &pair).unwrap()[0].place, rule);
        let cohort = Forwarding { is_cohort: true, ..at(rule.clone()) };
        assert_eq!(only(vec![at(listener.clone()), cohort.clone()], &pair).unwrap().len(), 2);
        assert_eq!([0, 1, 100].map(|percent| cohort.share(percent)), [0, 100, 100]);
        let why = only(vec![cohort], &pair).unwrap_err();
        assert!(why.contains("no listener and no rule"), "{why}");
        let why = only(Vec::new(), &pair).unwrap_err();
        assert!(why.contains("forwards to both `blue` and `green`"), "{why}");
        let why = only(vec![at(listener), at(rule)], &pair).unwrap_err();
        assert!(why.contains("`front`, `beta`"), "{why}");
    }

    #[test]
    fn an_action_of_a_named_listener_that_has_one_of_them_gets_the_other() {
        let single = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("blue");
        for action in [single.build(), forward(&[("blue", 1)])] {
            let both = with_both(action, &arns());
            assert_eq!(percent_of(weights_of(&both, &arns()).unwrap()), Some(0));
            let changed = with_percent(&[both], &arns(), 10).unwrap().unwrap().remove(0);
            assert_eq!(weights(&changed), [("blue", 90), ("green", 10)]);
            assert_eq!(changed.target_group_arn(), None);
        }
        let green = with_both(forward(&[("green", 5)]), &arns());
        assert_eq!(percent_of(weights_of(&green, &arns()).unwrap()), Some(100));
        let other = forward(&[("other", 1)]);
        assert_eq!(with_both(other.clone(), &arns()), other);
    }

    #[test]
    fn an_action_sends_traffic_to_whom_it_gives_a_weight_and_to_its_only_one() {
        let both = forward(&[("blue", 0), ("green", 100)]);
        assert!(sends_to(&both, "green") && !sends_to(&both, "blue") && !sends_to(&both, "other"));
        assert!(sends_to(&forward(&[("blue", 0)]), "blue"), "nobody else is there");
        let single = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("blue");
        let single = single.build();
        assert!(sends_to(&single, "blue") && !sends_to(&single, "green"));
        let fixed = Action::builder().r#type(ActionTypeEnum::FixedResponse).build();
        assert!(!sends_to(&fixed, "blue"));
    }

    #[test]
    fn an_action_that_has_one_of_them_is_none_of_the_pair() {
        assert_eq!(weights_of(&forward(&[("blue", 100), ("other", 0)]), &arns()), None);
        let without = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("blue");
        assert_eq!(weights_of(&without.build(), &arns()), None);
        let idle = weights_of(&forward(&[("blue", 0), ("green", 0)]), &arns()).unwrap();
        assert_eq!(percent_of(idle), None);
    }
}
