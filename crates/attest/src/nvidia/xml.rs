//! A signed XML document of NVIDIA's, read strictly, and its canonical form.
//!
//! Parsing is `roxmltree`'s, over a subset that is checked before and after: at most 256 KiB and 2,000 nodes, 8 levels deep, no document
//! type, no entities or character references, no comments, CDATA or processing instructions, no attribute of the namespace `xml`, and no
//! namespace undeclared again. On this subset Canonical XML 1.0 and 1.1 are one and the same, and what the signature covers is what
//! is read. The canonical form (W3C, "Canonical XML 1.1", section 2.3) is written for two node sets: the document without one
//! subtree, and one subtree. Every use of a namespace keeps its prefix as written.

use roxmltree::{Document, Node, NodeId, ParsingOptions};

/// Why a document is not in the subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// Over a limit.
    #[error("it is longer, deeper or richer in nodes than is ever read")]
    TooLarge,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// A construct that can hide or fetch something.
    #[error("it has a document type, an entity, a comment, a CDATA section or a processing instruction")]
    Construct,
    /// Not well-formed.
    #[error("it is not well-formed XML")]
    Malformed,
    /// Something that canonicalisation of a part would have to inherit or undo.
    #[error("it has an attribute of the namespace `xml`, or undeclares a namespace")]
    Namespace,
}

/// Parses a document of the subset.
///
/// # Errors
/// The first fault.
pub(super) fn parse(bytes: &[u8]) -> Result<Document<'_>, XmlFault> {
    if bytes.len() > MAX_SIZE {
        return Err(XmlFault::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlFault::Encoding)?;
    let text = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap_or(text);
    if ["<!", "<?", "&", "\u{feff}"].iter().any(|construct| text.contains(construct)) {
        return Err(XmlFault::Construct);
    }
    // What a parser does per tag grows with the square of its attributes, and per element with the namespaces around it.
    if text.split('<').any(|tag| tag.len() > MAX_TAG) || text.matches("xmlns").count() > MAX_NAMESPACES {
        return Err(XmlFault::TooLarge);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => XmlFault::TooLarge,
        _ => XmlFault::Malformed,
    })?;
    for node in document.descendants().filter(Node::is_element) {
        let inherited = node.attributes().any(|attribute| attribute.namespace() == Some(XML_NAMESPACE));
        let undeclared = node.namespaces().any(|namespace| namespace.uri().is_empty());
        if inherited || undeclared {
            return Err(XmlFault::Namespace);
        }
        if node.attributes().len() > MAX_ATTRIBUTES || node.ancestors().nth(MAX_DEPTH + 1).is_some() {
            return Err(XmlFault::TooLarge);
        }
    }
    Ok(document)
}

/// The canonical form of the document without the subtree `excluded` (the enveloped signature).
pub(super) fn canonical_without(document: &Document<'_>, excluded: NodeId) -> Option<String> {
    let mut writer = Writer { text: document.input_text(), out: String::new(), excluded: Some(excluded) };
    writer.element(document.root_element(), None)?;
    Some(writer.out)
}

/// The canonical form of one subtree, which takes the namespaces around it along.
pub(super) fn canonical_subtree(document: &Document<'_>, apex: Node<'_, '_>) -> Option<String> {
    let mut writer = Writer { text: document.input_text(), out: String::new(), excluded: None };
    writer.element(apex, None)?;
    Some(writer.out)
}

struct Writer<'t> {
    text: &'t str,
    out: String,
    excluded: Option<NodeId>,
}

impl Writer<'_> {
    /// Writes an element, which is no deeper than parsing admits; `parent` is the one around it in the output. `None` only where positions
    /// do not fit the text, which `roxmltree` rules out.
    fn element(&mut self, node: Node<'_, '_>, parent: Option<Node<'_, '_>>) -> Option<()> {
        let name = self.name(node)?.to_owned();
        self.out.push('<');
        self.out.push_str(&name);
        self.namespaces(node, parent);
        self.attributes(node)?;
        self.out.push('>');
        for child in node.children() {
            if self.excluded == Some(child.id()) {
                continue;
            }
            if child.is_element() {
                self.element(child, Some(node))?;
            } else {
                self.content(child.text()?);
            }
        }
        self.out.push_str("</");
        self.out.push_str(&name);
        self.out.push('>');
        Some(())
    }

    /// The qualified name as written.
    fn name(&self, node: Node<'_, '_>) -> Option<&str> {
        let tag = self.text.get(node.range())?.strip_prefix('<')?;
        let end = tag.find(|character: char| character.is_ascii_whitespace() || matches!(character, '/' | '>'))?;
        tag.get(..end)
    }

    /// Those declared here that the parent in the output has not, by prefix; the default one first.
    fn namespaces(&mut self, node: Node<'_, '_>, parent: Option<Node<'_, '_>>) {
        let known = |prefix: Option<&str>, uri: &str| {
            parent.is_some_and(|parent| parent.lookup_namespace_uri(prefix).is_some_and(|known| known == uri))
        };
        let mut declared: Vec<(&str, &str)> = node
            .namespaces()
            .filter(|namespace| namespace.name() != Some("xml") && !known(namespace.name(), namespace.uri()))
            .map(|namespace| (namespace.name().unwrap_or_default(), namespace.uri()))
            .collect();
        declared.sort_unstable();
        for (prefix, uri) in declared {
            self.out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            self.out.push_str(prefix);
            self.value(uri);
        }
    }

    /// By namespace, then by local name; those without a namespace first.
    fn attributes(&mut self, node: Node<'_, '_>) -> Option<()> {
        let mut attributes: Vec<_> = node.attributes().collect();
        attributes.sort_by_key(|attribute| (attribute.namespace().unwrap_or_default(), attribute.name()));
        for attribute in attributes {
            let name = self.text.get(attribute.range_qname())?;
            self.out.push(' ');
            self.out.push_str(name);
            self.value(attribute.value());
        }
        Some(())
    }

    fn value(&mut self, value: &str) {
        self.out.push_str("=\"");
        for character in value.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '"' => self.out.push_str("&quot;"),
                '\t' => self.out.push_str("&#x9;"),
                '\n' => self.out.push_str("&#xA;"),
                '\r' => self.out.push_str("&#xD;"),
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }

    fn content(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '\r' => self.out.push_str("&#xD;"),
                other => self.out.push(other),
            }
        }
    }
}

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
const MAX_SIZE: usize = 256 * 1024;
const MAX_DEPTH: usize = 8;
const MAX_NODES: u32 = 2000;
const MAX_ATTRIBUTES: usize = 64;
/// From one `<` to the next: a tag and the text behind it, such as a certificate.
const MAX_TAG: usize = 16 * 1024;
const MAX_NAMESPACES: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn canonical(text: &str) -> String {
        let document = parse(text.as_bytes()).unwrap();
        canonical_subtree(&document, document.root_element()).unwrap()
    }

    #[test]
    fn elements_attributes_and_namespaces_take_their_canonical_order() {
        // After the example of the specification, section 3.3, in so far as it is of the subset.
        let text = r#"<doc><e1   /><e2   ></e2><e3   name = "elem3"   id="elem3"   /><e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm" xmlns:b="http://www.ietf.org" xmlns:a="http://www.w3.org" xmlns="http://example.org"/></doc>"#;
        let expected = r#"<doc><e1></e1><e2></e2><e3 id="elem3" name="elem3"></e3><e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" xmlns:b="http://www.ietf.org" attr="I'm" attr2="all" b:attr="sorted" a:attr="out"></e5></doc>"#;
        assert_eq!(canonical(text), expected);
    }

    #[test]
    fn a_declaration_is_written_where_it_is_new() {
        let text =
            r#"<a xmlns="u:1" xmlns:p="u:2"><p:b xmlns="u:1" xmlns:p="u:2"><c xmlns:p="u:3" p:x="1"/></p:b></a>"#;
        let expected = r#"<a xmlns="u:1" xmlns:p="u:2"><p:b><c xmlns:p="u:3" p:x="1"></c></p:b></a>"#;
        assert_eq!(canonical(text), expected);
    }

    #[test]
    fn a_part_takes_the_namespaces_around_it_along() {
        let text = r#"<a xmlns="u:1" xmlns:q="u:3"><p:b xmlns:p="u:2"><p:c x='1 "2"'>t > u</p:c></p:b></a>"#;
        let document = parse(text.as_bytes()).unwrap();
        let part = document.descendants().find(|node| node.tag_name().name() == "c").unwrap();
        assert_eq!(
            canonical_subtree(&document, part).unwrap(),
            r#"<p:c xmlns="u:1" xmlns:p="u:2" xmlns:q="u:3" x="1 &quot;2&quot;">t &gt; u</p:c>"#
        );
        let without = canonical_without(&document, part.id()).unwrap();
        assert_eq!(without, r#"<a xmlns="u:1" xmlns:q="u:3"><p:b xmlns:p="u:2"></p:b></a>"#);
    }

    #[test]
    fn line_ends_and_tabs_are_normalised_as_an_xml_reader_does() {
        assert_eq!(canonical("<a x='1\t2\r\n3'>b\r\nc\rd</a>"), "<a x=\"1 2 3\">b\nc\nd</a>");
    }

    #[test]
    fn what_is_not_of_the_subset_is_refused() {
        let refused = |text: &str| parse(text.as_bytes()).err();
        assert_eq!(refused("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Some(XmlFault::Construct));
        assert_eq!(refused("<a>&amp;</a>"), Some(XmlFault::Construct));
        assert_eq!(refused("<a>&#65;</a>"), Some(XmlFault::Construct));
        assert_eq!(refused("<a><!-- b --></a>"), Some(XmlFault::Construct));
        assert_eq!(refused("<a><![CDATA[b]]></a>"), Some(XmlFault::Construct));
        assert_eq!(refused("<?php b?><a/>"), Some(XmlFault::Construct));
        assert_eq!(refused("<a xml:base='b'/>"), Some(XmlFault::Namespace));
        assert_eq!(refused("<a xmlns='u:1'><b xmlns=''/></a>"), Some(XmlFault::Namespace));
        assert_eq!(refused("<a><b></a></b>"), Some(XmlFault::Malformed));
        assert_eq!(refused("<a b='1' b='2'/>"), Some(XmlFault::Malformed));
        assert_eq!(refused("<a/><b/>"), Some(XmlFault::Malformed));
        assert_eq!(refused(""), Some(XmlFault::Malformed));
        assert_eq!(parse(b"<a>\xff</a>").err(), Some(XmlFault::Encoding));
        assert_eq!(refused(&"<a>".repeat(80_000)), Some(XmlFault::TooLarge));
        assert_eq!(refused(&format!("<a>{}</a>", "<b/>".repeat(3000))), Some(XmlFault::TooLarge));
        assert_eq!(refused(&" ".repeat(300_000)), Some(XmlFault::TooLarge));
        let namespaces: String = (0..33).map(|number| format!(" xmlns:n{number}='u:{number}'")).collect();
        assert_eq!(refused(&format!("<a{namespaces}/>")), Some(XmlFault::TooLarge));
        let attributes: String = (0..3000).map(|number| format!(" n{number}=''")).collect();
        assert_eq!(refused(&format!("<a{attributes}/>")), Some(XmlFault::TooLarge));
        let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
        assert_eq!(refused(&deep), Some(XmlFault::TooLarge));
    }

    #[test]
    fn a_document_is_read_up_to_each_of_its_limits_and_no_further() {
        let outcome = |text: &str| parse(text.as_bytes()).map(|_| ());
        let limited = |limit: usize, sized: &dyn Fn(usize) -> String| {
            assert_eq!(outcome(&sized(limit)), Ok(()), "{limit}");
            for more in [limit + 1, limit + 2, limit * 2] {
                assert_eq!(outcome(&sized(more)), Err(XmlFault::TooLarge), "{more}");
            }
        };
        // The whole, with spaces between its elements.
        let part = format!("<b/>{}", " ".repeat(12_000));
        limited(262_144, &|size| {
            let inside = part.repeat(size / 12_100);
            format!("<a>{inside}</a>{}", " ".repeat(size - inside.len() - 7))
        });
        // What stands from behind one `<` to the next.
        limited(16_384, &|size| format!("<a>{}</a>", " ".repeat(size - 2)));
        limited(16_384, &|size| format!("<a b='{}'/>", " ".repeat(size - 8)));
        limited(8, &|size| format!("{}{}", "<a>".repeat(size), "</a>".repeat(size)));
        limited(32, &|size| {
            let namespaces: String = (0..size).map(|number| format!(" xmlns:n{number}='u:{number}'")).collect();
            format!("<a{namespaces}/>")
        });
        limited(64, &|size| {
            let attributes: String = (0..size).map(|number| format!(" n{number}=''")).collect();
            format!("<a{attributes}/>")
        });
        // The document itself and its root are nodes, too.
        limited(2000, &|size| format!("<a>{}</a>", "<b/>".repeat(size - 2)));
    }

    #[test]
    fn what_is_eight_deep_is_written_whole() {
        let text = format!("{}x{}", "<a>".repeat(8), "</a>".repeat(8));
        assert_eq!(canonical(&text), text);
    }
}
