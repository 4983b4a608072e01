//! Ladders and their climbing, people in charge, and the balancers of a home (`docs/semantics.md#ladders`,
//! `docs/semantics.md#traffic`).

use crate::codedeploy::{ApiError, ErrorName, MinimumHealthyHosts, Seconds, checks};

shape! {
    /// Makes a deployment configuration that is a ladder.
    CreateLadder {
        /// Its name.
        deployment_config_name: String,
        /// The rungs, from the lowest, as `1 host@1m,10%@5m,100%`.
        steps: String,
        /// How many hosts stay healthy, besides; half of the fleet unless said.
        minimum_healthy_hosts: MinimumHealthyHosts,
    }
}

shape! {
    /// The configuration was made.
    CreateLadderOutput {
        /// Its id.
        deployment_config_id: String,
    }
}

shape! {
    /// Asks how far a deployment is on its ladder or among its zones, and what watches it.
    GetProgress {
        /// The deployment.
        deployment_id: String,
    }
}

shape! {
    /// How far a deployment is.
    GetProgressOutput {
        /// The rungs of its ladder, from the lowest.
        steps: Vec<String>,
        /// How many of them are climbed.
        steps_done: u32,
        /// The availability zones of a deployment that goes from one to the next, in their order, as far as they are known;
        /// empty for the hosts without one.
        zones: Vec<String>,
        /// How many of them are done.
        zones_done: u32,
        /// Until when the present step or zone bakes, if nothing comes between.
        baking_until: Seconds,
        /// Whether it is paused.
        paused: bool,
        /// Whether it is promoted: no rung holds it back any more.
        promoted: bool,
        /// The alarms that watch it.
        alarms: Vec<String>,
        /// When an alarm stopped it.
        alarm_time: Seconds,
        /// The alarms that did.
        activated_alarms: Vec<String>,
        /// Why the alarms could not be read, where that is what stopped it.
        alarms_unreadable: String,
        /// When the hosts with the new version that could be spared had no traffic any more.
        traffic_back_time: Seconds,
        /// How many hosts with the new version kept theirs after an alarm, because too few others would have had any.
        traffic_kept_hosts: u32,
        /// How far a deployment is whose traffic moves all together.
        stage: ShiftStage,
        /// How much of the traffic its new version has, in percent.
        traffic_percent: u32,
        /// What its new version gets traffic through, where that has a name: a target group, or a version of a function.
        new_side: String,
        /// What has the rest of the traffic, and had all of it before.
        old_side: String,
        /// Until when it waits: for a person, or with what had the traffic.
        waits_until: Seconds,
        /// How many of the tasks of its new version run, where it is of an ECS service.
        running_tasks: u32,
        /// How many of them are wanted.
        desired_tasks: u32,
        /// What alarms have to say beyond whether they fire; once some have fired, what those said then.
        alarm_notes: Vec<AlarmNote>,
    }
}

shape! {
    /// What an alarm has to say beyond whether it fires.
    AlarmNote {
        /// The alarm.
        alarm: String,
        /// How far it is from a verdict, for people.
        note: String,
    }
}

words! {
    /// The stages of a deployment whose traffic moves all together.
    ShiftStage {
        /// What is to be done before the new side is made ready.
        BeforeInstall = "BeforeInstall",
        /// The new side is made ready.
        Install = "Install",
        /// What is to be done when it is.
        AfterInstall = "AfterInstall",
        /// The test traffic moves.
        AllowTestTraffic = "AllowTestTraffic",
        /// What is to be done after it has moved.
        AfterAllowTestTraffic = "AfterAllowTestTraffic",
        /// It is ready, and a person is waited for.
        Ready = "Ready",
        /// What is to be done before the traffic moves.
        BeforeAllowTraffic = "BeforeAllowTraffic",
        /// The traffic moves.
        AllowTraffic = "AllowTraffic",
        /// What is to be done after it has moved.
        AfterAllowTraffic = "AfterAllowTraffic",
        /// What had the traffic is kept.
        TerminationWait = "TerminationWait",
        /// What had the traffic is ended.
        Termination = "Termination",
        /// All is done.
        Done = "Done",
    }
}

words! {
    /// What people may want of a deployment that is under way. To abort it, stop it with a rollback.
    Steer {
        /// Start nothing new.
        Pause = "Pause",
        /// Go on.
        Resume = "Resume",
        /// Go on to the end without waiting for any rung, nor between zones.
        Promote = "Promote",
        /// Let the present rung or zone bake no longer.
        SkipBake = "SkipBake",
    }
}

shape! {
    /// Says what somebody wants of a deployment.
    SteerDeployment {
        /// The deployment.
        deployment_id: String,
        /// What: `Pause`, `Resume`, `Promote` or `SkipBake`.
        wish: String,
    }
}

shape! {
    /// Adds a balancer to a home. One of that name and these settings may be there.
    AddBalancer {
        /// Its name; its target group is `home:NAME`.
        name: String,
        /// The port that it listens on; any free one unless said, which is then kept.
        port: u16,
        /// The port that the application listens on, on each host.
        target_port: u16,
        /// What is asked of a host to see whether it is healthy; `/` unless said.
        health_path: String,
        /// The statuses of its answer that are healthy, as `200-399` or `200,204`; `200-399` unless said.
        health_status: String,
        /// Two target groups that share its traffic, in place of one of its own name.
        target_groups: Vec<String>,
        /// How long requests may take to end on a host that is drained, in seconds; 30 unless said.
        drain_seconds: u64,
        /// The port on which the group of a pair answers that has less of the traffic, so that it can be tried before it
        /// gets any; 0 for any free one.
        test_port: u16,
        /// Requests with this header always get the new group of a pair, as `NAME=VALUE`.
        cohort_header: String,
        /// Requests with this cookie do, as `NAME=VALUE`.
        cohort_cookie: String,
    }
}

shape! {
    /// The balancer as it is now.
    AddBalancerOutput {
        /// The balancer.
        balancer: BalancerInfo,
    }
}

shape! {
    /// Asks for the balancers of a home.
    ListBalancers {}
}

shape! {
    /// The balancers.
    ListBalancersOutput {
        /// By name.
        balancers: Vec<BalancerInfo>,
    }
}

shape! {
    /// Removes a balancer. There need not be one.
    RemoveBalancer {
        /// Its name.
        name: String,
    }
}

shape! {
    /// A balancer, and what it has done since the home began.
    BalancerInfo {
        /// Its name.
        name: String,
        /// Where it listens, as `http://127.0.0.1:8080`.
        url: String,
        /// Where the group answers that has less of the traffic, if that was asked for.
        test_url: String,
        /// The port of the application.
        target_port: u16,
        /// What is asked of a host to see whether it is healthy.
        health_path: String,
        /// The statuses of its answer that are healthy.
        health_status: String,
        /// The target groups.
        target_groups: Vec<TargetGroupStatus>,
        /// Requests that were answered.
        requests: u64,
        /// Those that were answered by an application with a status from 500 on.
        app_errors: u64,
        /// Those that the balancer itself answered with an error, or could not answer.
        own_errors: u64,
    }
}

shape! {
    /// A target group of a balancer.
    TargetGroupStatus {
        /// Its name, with the scheme.
        name: String,
        /// How much of the traffic it gets, in percent.
        percent: u32,
        /// Its hosts.
        targets: Vec<TargetStatus>,
    }
}

shape! {
    /// A host in a target group.
    TargetStatus {
        /// The host.
        host: String,
        /// `in`, `starting`, `draining` or `out`.
        standing: String,
    }
}

impl CreateLadder {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::config_name(&self.deployment_config_name)?;
        checks::ensure(checks::given(&self.steps).is_some(), ErrorName::Validation, || {
            "`steps` is missing; give the rungs, as `1 host@1m,10%@5m,100%`".to_owned()
        })
    }
}

impl AddBalancer {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        for (given, what) in
            [(self.name.is_some(), "name"), (self.target_port.is_some(), "targetPort")]
        {
            checks::ensure(given, ErrorName::Validation, || format!("`{what}` is missing"))?;
        }
        Ok(())
    }
}

impl ListBalancers {
    #[expect(clippy::unused_self, reason = "each request has its check")]
    pub(super) fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl RemoveBalancer {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::ensure(self.name.is_some(), ErrorName::Validation, || {
            "`name` is missing".to_owned()
        })
    }
}

impl GetProgress {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id).map(drop)
    }
}

impl SteerDeployment {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        self.required_steer().map(drop)
    }

    /// What is wanted.
    ///
    /// # Errors
    /// `ValidationException` where that is no wish.
    pub fn required_steer(&self) -> Result<Steer, ApiError> {
        let wish = checks::given(&self.wish).and_then(|wish| wish.parse().ok());
        wish.ok_or_else(|| {
            let message = "`wish` is none of Pause, Resume, Promote and SkipBake".to_owned();
            ErrorName::Validation.because(message)
        })
    }
}
