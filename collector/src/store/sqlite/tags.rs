//! Tags of nodes, as their newest births have them.

use rusqlite::{Connection, Transaction, params};
use tacit_wire::NodeId;
use tacit_wire::message::Birth;

use super::convert::parse;
use super::{NodeTags, StoreError, Tags};

/// Takes the tags of a birth for those of its node. Of one key the first value counts.
pub fn put(t: &Transaction<'_>, birth: &Birth) -> Result<(), StoreError> {
    let mut said = Tags::new();
    for tag in birth.tags.iter().filter(|tag| !tag.key.is_empty()) {
        said.entry(tag.key.clone()).or_insert_with(|| tag.value.clone());
    }
    if of(t, &birth.node)? == said {
        return Ok(());
    }
    t.prepare_cached("DELETE FROM tag WHERE node = ?1")?.execute([birth.node.as_str()])?;
    let mut insert = t.prepare_cached("INSERT INTO tag (node, key, value) VALUES (?1, ?2, ?3)")?;
    for (key, value) in &said {
        insert.execute(params![birth.node.as_str(), key, value])?;
    }
    Ok(())
}

fn of(c: &Connection, node: &NodeId) -> Result<Tags, StoreError> {
    let mut statement = c.prepare_cached("SELECT key, value FROM tag WHERE node = ?1")?;
    let rows = statement.query_map([node.as_str()], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Tags of all nodes.
pub fn all(c: &Connection) -> Result<NodeTags, StoreError> {
    let mut statement = c.prepare_cached("SELECT node, key, value FROM tag")?;
    let rows =
        statement.query_map([], |r| Ok((parse::<NodeId>(r, 0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?)))?;
    let mut tags = NodeTags::new();
    for row in rows {
        let (node, key, value) = row?;
        tags.entry(node).or_default().insert(key, value);
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use tacit_wire::Attribute;

    use super::*;
    use crate::fixtures;

    fn birth(tags: &[(&str, &str)]) -> Birth {
        let tags = tags.iter().map(|(key, value)| Attribute::new(*key, *value)).collect();
        Birth { tags, ..fixtures::birth("web-1", 1) }
    }

    #[test]
    fn the_newest_birth_says_the_tags() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../migrations/006_tags.sql")).unwrap();
        let mut born = |tags: &[(&str, &str)]| {
            let t = connection.transaction().unwrap();
            put(&t, &birth(tags)).unwrap();
            t.commit().unwrap();
            all(&connection).unwrap().into_values().next().unwrap_or_default()
        };
        assert_eq!(born(&[("role", "web"), ("rack", "b3")]).len(), 2);
        // A stranger may say a key twice, or none.
        let odd = born(&[("role", "db"), ("role", "x"), ("", "y")]);
        assert_eq!(odd, Tags::from([("role".to_owned(), "db".to_owned())]));
        assert!(born(&[]).is_empty());
    }
}
