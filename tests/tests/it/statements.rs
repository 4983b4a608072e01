//! The statements of the roles in `template.yaml`, as the table of what the functions call has them written.

use expect_test::expect_file;
use functions::permissions::{Function, launch_statements, statements};

use crate::house::root;

/// The text with what stands below a line of `Statement:` in a role replaced, from the first such line behind `from` on.
/// Returns also where the statements end.
fn replace(text: &str, from: usize, head: &str, statements: &str) -> (String, usize) {
    let begin = from + text[from..].find(head).unwrap() + head.len();
    let indent = head.len() - head.trim_start().len();
    let is_inside = |line: &str| line.len() - line.trim_start().len() > indent;
    let lines = text[begin..].split_inclusive('\n');
    let length: usize = lines.take_while(|line| is_inside(line)).map(str::len).sum();
    let replaced = [&text[..begin], statements, &text[begin + length..]].concat();
    (replaced, begin + statements.len())
}

#[test]
fn the_statements_of_each_role_are_those_that_the_table_has_written() {
    let mut text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    for function in Function::ALL {
        let role = text.find(&format!("\n  {}Role:\n", function.resource())).unwrap();
        let work = statements(function, 14);
        let (replaced, end) = replace(&text, role, "            Statement:\n", &work);
        text = replaced;
        let launches = launch_statements(function, 16);
        if !launches.is_empty() {
            text = replace(&text, end, "              Statement:\n", &launches).0;
        }
    }
    // `UPDATE_EXPECT=1` writes them.
    expect_file!["../../../template.yaml"].assert_eq(&text);
}
