//! How the shapes of the JSON protocol are declared.
//!
//! Every member is an `Option`: a client may leave out anything, `null` means the same as leaving it out, and what is
//! not set is not sent. Members that are not known are passed over. The lists keep "absent" and "empty" apart.

/// Declares a structure of optional members; `as "PascalCase";` in front of it overrides lowerCamelCase, and
/// `..part: Type` at its end adds the members of another structure.
macro_rules! shape {
    ($(#[$meta:meta])* $name:ident { $($members:tt)* }) => {
        shape! { as "camelCase"; $(#[$meta])* $name { $($members)* } }
    };
    (as $case:literal; $(#[$meta:meta])* $name:ident {
        $($(#[$member:meta])* $field:ident: $ty:ty,)*
        $(..$(#[$part:meta])* $flat:ident: $flat_ty:ty)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = $case, default)]
        pub struct $name {
            $($(#[$member])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$ty>,)*
            $($(#[$part])* #[serde(flatten)] pub $flat: $flat_ty,)?
        }
    };
}

/// Declares an enumeration by its words on the wire.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them, as they are declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::codedeploy::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|each| each.name() == text);
                found.ok_or_else(|| $crate::codedeploy::UnknownWord {
                    text: text.to_owned(),
                    known: Self::ALL.iter().map(|each| each.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

/// Declares the operations of a service, and joins each request to its answer and its check.
macro_rules! operations {
    ($prefix:literal, $(#[$meta:meta])* $($operation:ident => $response:ty,)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(
                #[doc = concat!("`", stringify!($operation), "`.")]
                $operation,
            )*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$operation,)*];

            /// CodeDeploy's name of the operation.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$operation => stringify!($operation),)*
                }
            }

            /// Reads a value of `X-Amz-Target`.
            ///
            /// # Errors
            /// `UnknownOperationException` if it names none of these.
            pub fn from_target(target: &str) -> Result<Self, $crate::codedeploy::ApiError> {
                let name = target.strip_prefix($prefix).unwrap_or_default();
                Self::ALL.iter().copied().find(|each| each.name() == name).ok_or_else(|| {
                    $crate::codedeploy::ErrorName::UnknownOperation.because(format!(
                        "there is no operation `{target}`; update the server if it is older than the client"
                    ))
                })
            }
        }

        $(impl $crate::codedeploy::Request for $operation {
            const TARGET: &'static str = concat!($prefix, stringify!($operation));
            type Response = $response;

            fn validate(&self) -> Result<(), $crate::codedeploy::ApiError> {
                self.check()
            }
        })*
    };
}
