//! What each function is linked with, as it is released: what it does not need is fetched and started with it all the
//! same. `cargo xtask bench functions` runs this on the programs that it has built and measured; a debug build keeps what
//! nothing calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use functions::permissions::Function;
use memchr::memmem;

/// The variable that names the folder of the programs.
const BUILT: &str = "CUTOVER_BUILT";

/// SDKs of services that ask for credentials outside of Lambda; no role needs a right for that.
const CREDENTIALS: [&str; 3] = ["sso", "ssooidc", "sts"];

/// What calls with a function's role in its place.
const SERVICES: [&str; 3] = ["Lambda,", "ECS,", "Auto Scaling,"];

/// The SDKs that a program has code of. Its panics name the files of crates: `aws-sdk-ec2-1.274.0/src/…`.
fn linked(program: &Path) -> BTreeSet<String> {
    let bytes =
        fs::read(program).unwrap_or_else(|error| panic!("`{}`: {error}", program.display()));
    let begins = memmem::find_iter(&bytes, "aws-sdk-").map(|at| &bytes[at + "aws-sdk-".len()..]);
    begins
        .filter_map(|rest| {
            let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
            let (name, version) = rest.split_at(end);
            let is_crate = version.starts_with(b"-") && version.get(1)?.is_ascii_digit();
            is_crate.then(|| String::from_utf8(name.to_vec()).unwrap())
        })
        .collect()
}

/// The SDKs of the services that a function calls by its ports.
fn called(function: Function) -> BTreeSet<String> {
    let own = function.calls().filter(|call| !SERVICES.iter().any(|of| call.by.starts_with(of)));
    let services = own.filter_map(|call| call.operation.split(':').next());
    let sdks = services.map(|service| match service {
        "elasticloadbalancing" => "elasticloadbalancingv2",
        service => service,
    });
    sdks.map(str::to_owned).collect()
}

/// The program of a function: its resource's name, as files are named.
fn name(function: Function) -> String {
    let letters = function.resource().char_indices();
    let name = letters.flat_map(|(at, letter)| {
        let parts = letter.is_uppercase() && at > 0;
        parts.then_some('_').into_iter().chain(letter.to_lowercase())
    });
    name.collect()
}

#[test]
fn a_function_is_linked_with_no_sdk_but_those_of_the_services_that_it_calls() {
    let built = std::env::var_os(BUILT);
    let built = PathBuf::from(built.unwrap_or_else(|| {
        panic!("{BUILT} does not say where the released programs are: run `cargo xtask bench functions`")
    }));
    for function in Function::ALL {
        let mut linked = linked(&built.join(name(function)));
        linked.retain(|sdk| !CREDENTIALS.contains(&sdk.as_str()));
        assert_eq!(linked, called(function), "{function:?}");
    }
}
