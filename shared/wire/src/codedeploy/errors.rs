//! What an operation is refused with: CodeDeploy's exception names and the body that carries them
//! (`docs/semantics.md#api`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

words! {
    /// The names of exceptions. The last ones are those that every service of this protocol has.
    ErrorName {
        /// The application name is missing.
        ApplicationNameRequired = "ApplicationNameRequiredException",
        /// Not acceptable: application name.
        InvalidApplicationName = "InvalidApplicationNameException",
        /// The application exists already.
        ApplicationAlreadyExists = "ApplicationAlreadyExistsException",
        /// There is no such application.
        ApplicationDoesNotExist = "ApplicationDoesNotExistException",
        /// The limit of this is exceeded: application.
        ApplicationLimitExceeded = "ApplicationLimitExceededException",
        /// Not acceptable: compute platform.
        InvalidComputePlatform = "InvalidComputePlatformException",
        /// Not acceptable: tags to add.
        InvalidTagsToAdd = "InvalidTagsToAddException",
        /// Asked too often; clients try again.
        Throttling = "ThrottlingException",
        /// The limit of this is exceeded: batch.
        BatchLimitExceeded = "BatchLimitExceededException",
        /// Not acceptable: next token.
        InvalidNextToken = "InvalidNextTokenException",
        /// Not acceptable: role.
        InvalidRole = "InvalidRoleException",
        /// The deployment group name is missing.
        DeploymentGroupNameRequired = "DeploymentGroupNameRequiredException",
        /// Not acceptable: deployment group name.
        InvalidDeploymentGroupName = "InvalidDeploymentGroupNameException",
        /// The deployment group exists already.
        DeploymentGroupAlreadyExists = "DeploymentGroupAlreadyExistsException",
        /// There is no such deployment group.
        DeploymentGroupDoesNotExist = "DeploymentGroupDoesNotExistException",
        /// Not acceptable: EC2 tag.
        InvalidEc2Tag = "InvalidEC2TagException",
        /// Not acceptable: tag.
        InvalidTag = "InvalidTagException",
        /// Not acceptable: auto scaling group.
        InvalidAutoScalingGroup = "InvalidAutoScalingGroupException",
        /// Not acceptable: deployment config name.
        InvalidDeploymentConfigName = "InvalidDeploymentConfigNameException",
        /// There is no such deployment config.
        DeploymentConfigDoesNotExist = "DeploymentConfigDoesNotExistException",
        /// The role is missing.
        RoleRequired = "RoleRequiredException",
        /// The limit of this is exceeded: deployment group.
        DeploymentGroupLimitExceeded = "DeploymentGroupLimitExceededException",
        /// The limit of this is exceeded: lifecycle hook.
        LifecycleHookLimitExceeded = "LifecycleHookLimitExceededException",
        /// Not acceptable: trigger config.
        InvalidTriggerConfig = "InvalidTriggerConfigException",
        /// The limit of this is exceeded: trigger targets.
        TriggerTargetsLimitExceeded = "TriggerTargetsLimitExceededException",
        /// Not acceptable: alarm config.
        InvalidAlarmConfig = "InvalidAlarmConfigException",
        /// The limit of this is exceeded: alarms.
        AlarmsLimitExceeded = "AlarmsLimitExceededException",
        /// Not acceptable: auto rollback config.
        InvalidAutoRollbackConfig = "InvalidAutoRollbackConfigException",
        /// Not acceptable: load balancer info.
        InvalidLoadBalancerInfo = "InvalidLoadBalancerInfoException",
        /// Not acceptable: deployment style.
        InvalidDeploymentStyle = "InvalidDeploymentStyleException",
        /// Not acceptable: blue green deployment configuration.
        InvalidBlueGreenDeploymentConfiguration = "InvalidBlueGreenDeploymentConfigurationException",
        /// Not acceptable: EC2 tag combination.
        InvalidEc2TagCombination = "InvalidEC2TagCombinationException",
        /// Not acceptable: on-premises tag combination.
        InvalidOnPremisesTagCombination = "InvalidOnPremisesTagCombinationException",
        /// The limit of this is exceeded: tag set list.
        TagSetListLimitExceeded = "TagSetListLimitExceededException",
        /// Not acceptable: input.
        InvalidInput = "InvalidInputException",
        /// Not acceptable: ECS service.
        InvalidEcsService = "InvalidECSServiceException",
        /// Not acceptable: target group pair.
        InvalidTargetGroupPair = "InvalidTargetGroupPairException",
        /// The limit of this is exceeded: ECS service mapping.
        EcsServiceMappingLimitExceeded = "ECSServiceMappingLimitExceededException",
        /// Not acceptable: traffic routing configuration.
        InvalidTrafficRoutingConfiguration = "InvalidTrafficRoutingConfigurationException",
        /// Not acceptable: auto scaling group process to suspend.
        InvalidAutoScalingGroupProcessToSuspend = "InvalidAutoScalingGroupProcessToSuspendException",
        /// The deployment config name is missing.
        DeploymentConfigNameRequired = "DeploymentConfigNameRequiredException",
        /// The deployment config exists already.
        DeploymentConfigAlreadyExists = "DeploymentConfigAlreadyExistsException",
        /// Not acceptable: minimum healthy host value.
        InvalidMinimumHealthyHostValue = "InvalidMinimumHealthyHostValueException",
        /// The limit of this is exceeded: deployment config.
        DeploymentConfigLimitExceeded = "DeploymentConfigLimitExceededException",
        /// Not acceptable: zonal deployment configuration.
        InvalidZonalDeploymentConfiguration = "InvalidZonalDeploymentConfigurationException",
        /// It is in use: deployment config.
        DeploymentConfigInUse = "DeploymentConfigInUseException",
        /// Not acceptable: operation.
        InvalidOperation = "InvalidOperationException",
        /// Too long: description.
        DescriptionTooLong = "DescriptionTooLongException",
        /// The revision is missing.
        RevisionRequired = "RevisionRequiredException",
        /// Not acceptable: revision.
        InvalidRevision = "InvalidRevisionException",
        /// There is no such revision.
        RevisionDoesNotExist = "RevisionDoesNotExistException",
        /// Not acceptable: sort by.
        InvalidSortBy = "InvalidSortByException",
        /// Not acceptable: sort order.
        InvalidSortOrder = "InvalidSortOrderException",
        /// Not acceptable: bucket name filter.
        InvalidBucketNameFilter = "InvalidBucketNameFilterException",
        /// Not acceptable: key prefix filter.
        InvalidKeyPrefixFilter = "InvalidKeyPrefixFilterException",
        /// The bucket name filter is missing.
        BucketNameFilterRequired = "BucketNameFilterRequiredException",
        /// Not acceptable: deployed state filter.
        InvalidDeployedStateFilter = "InvalidDeployedStateFilterException",
        /// The limit of this is exceeded: deployment.
        DeploymentLimitExceeded = "DeploymentLimitExceededException",
        /// Not acceptable: target instances.
        InvalidTargetInstances = "InvalidTargetInstancesException",
        /// Not acceptable: file exists behavior.
        InvalidFileExistsBehavior = "InvalidFileExistsBehaviorException",
        /// Not acceptable: update outdated instances only value.
        InvalidUpdateOutdatedInstancesOnlyValue = "InvalidUpdateOutdatedInstancesOnlyValueException",
        /// Not acceptable: ignore application stop failures value.
        InvalidIgnoreApplicationStopFailuresValue = "InvalidIgnoreApplicationStopFailuresValueException",
        /// The deployment id is missing.
        DeploymentIdRequired = "DeploymentIdRequiredException",
        /// Not acceptable: deployment id.
        InvalidDeploymentId = "InvalidDeploymentIdException",
        /// There is no such deployment.
        DeploymentDoesNotExist = "DeploymentDoesNotExistException",
        /// Not acceptable: time range.
        InvalidTimeRange = "InvalidTimeRangeException",
        /// Not acceptable: deployment status.
        InvalidDeploymentStatus = "InvalidDeploymentStatusException",
        /// Not acceptable: external id.
        InvalidExternalId = "InvalidExternalIdException",
        /// The deployment has ended.
        DeploymentAlreadyCompleted = "DeploymentAlreadyCompletedException",
        /// The deployment is not of a kind that can do this.
        /// `ContinueDeployment` of one that does not wait for it.
        DeploymentIsNotInReadyState = "DeploymentIsNotInReadyStateException",
        /// A word that is no wait of a deployment.
        InvalidDeploymentWaitType = "InvalidDeploymentWaitTypeException",
        /// An id that no hook function was given.
        InvalidLifecycleEventHookExecutionId = "InvalidLifecycleEventHookExecutionIdException",
        /// A word that no hook function may say.
        InvalidLifecycleEventHookExecutionStatus = "InvalidLifecycleEventHookExecutionStatusException",
        /// A hook function that has said something else before.
        LifecycleEventAlreadyCompleted = "LifecycleEventAlreadyCompletedException",
        /// An action that this type of deployment does not have.
        UnsupportedActionForDeploymentType = "UnsupportedActionForDeploymentTypeException",
        /// The deployment has no targets yet.
        DeploymentNotStarted = "DeploymentNotStartedException",
        /// Not acceptable: instance status.
        InvalidInstanceStatus = "InvalidInstanceStatusException",
        /// Not acceptable: instance type.
        InvalidInstanceType = "InvalidInstanceTypeException",
        /// Not acceptable: deployment instance type.
        InvalidDeploymentInstanceType = "InvalidDeploymentInstanceTypeException",
        /// Not acceptable: target filter name.
        InvalidTargetFilterName = "InvalidTargetFilterNameException",
        /// The deployment target id is missing.
        DeploymentTargetIdRequired = "DeploymentTargetIdRequiredException",
        /// Not acceptable: deployment target id.
        InvalidDeploymentTargetId = "InvalidDeploymentTargetIdException",
        /// There is no such deployment target.
        DeploymentTargetDoesNotExist = "DeploymentTargetDoesNotExistException",
        /// Too many targets in one request.
        DeploymentTargetListSizeExceeded = "DeploymentTargetListSizeExceededException",
        /// Not acceptable: instance name.
        InvalidInstanceName = "InvalidInstanceNameException",
        /// There is no such instance.
        InstanceDoesNotExist = "InstanceDoesNotExistException",
        /// It is registered already: instance name.
        InstanceNameAlreadyRegistered = "InstanceNameAlreadyRegisteredException",
        /// The iam arn is missing.
        IamArnRequired = "IamArnRequiredException",
        /// It is registered already: iam session arn.
        IamSessionArnAlreadyRegistered = "IamSessionArnAlreadyRegisteredException",
        /// It is registered already: iam user arn.
        IamUserArnAlreadyRegistered = "IamUserArnAlreadyRegisteredException",
        /// The instance name is missing.
        InstanceNameRequired = "InstanceNameRequiredException",
        /// Not acceptable: iam session arn.
        InvalidIamSessionArn = "InvalidIamSessionArnException",
        /// Not acceptable: iam user arn.
        InvalidIamUserArn = "InvalidIamUserArnException",
        /// Both kinds of IAM ARN were given.
        MultipleIamArnsProvided = "MultipleIamArnsProvidedException",
        /// There is no such on-premises instance.
        InstanceNotRegistered = "InstanceNotRegisteredException",
        /// Not acceptable: registration status.
        InvalidRegistrationStatus = "InvalidRegistrationStatusException",
        /// Not acceptable: tag filter.
        InvalidTagFilter = "InvalidTagFilterException",
        /// The tag is missing.
        TagRequired = "TagRequiredException",
        /// The limit of this is exceeded: tag.
        TagLimitExceeded = "TagLimitExceededException",
        /// The limit of this is exceeded: instance.
        InstanceLimitExceeded = "InstanceLimitExceededException",
        /// The body is no JSON, or a member is of the wrong type.
        Serialization = "SerializationException",
        /// There is no such operation.
        UnknownOperation = "UnknownOperationException",
        /// A member breaks a constraint that no other exception is for.
        Validation = "ValidationException",
        /// The caller may not do this.
        AccessDenied = "AccessDeniedException",
        /// The request is not signed.
        MissingAuthenticationToken = "MissingAuthenticationTokenException",
        /// The signature is wrong.
        InvalidSignature = "InvalidSignatureException",
        /// The access key is not known.
        UnrecognizedClient = "UnrecognizedClientException",
        /// Something failed that the caller is not to blame for.
        InternalFailure = "InternalFailure",
        /// The service cannot answer now; clients try again.
        ServiceUnavailable = "ServiceUnavailable",
    }
}

impl ErrorName {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        if self == Self::InternalFailure {
            500
        } else if self == Self::ServiceUnavailable {
            503
        } else {
            400
        }
    }

    /// The error of this name.
    pub fn because(self, message: impl Into<String>) -> ApiError {
        ApiError { name: self, message: message.into() }
    }
}

/// A refusal, and at the same time its JSON body: `{"__type": …, "message": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{name}: {message}")]
pub struct ApiError {
    /// What kind.
    #[serde(rename = "__type")]
    pub name: ErrorName,
    /// What happened, and what to do.
    #[serde(default)]
    pub message: String,
}

/// A word that an enumeration does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not one of {known}")]
pub struct UnknownWord {
    /// What was given.
    pub text: String,
    /// What there is.
    pub known: String,
}
