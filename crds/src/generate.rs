//! The CustomResourceDefinition as it is committed and installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube_core::CustomResourceExt;

use crate::{NodeJoinRequest, rules, vocabulary};

/// Where the CustomResourceDefinition is committed, below the root of the repository.
pub const CRD_PATH: &str = "crds/generated/nodejoinrequests.nodejoin.dev.yaml";
/// The chart's template of it.
pub const CHART_CRD_PATH: &str = "charts/join-operator/templates/crd.yaml";
/// Where [`reasons_markdown`](crate::vocabulary::reasons_markdown) is committed.
pub const REASONS_PATH: &str = "docs/reasons.md";

/// Every generated file of this crate: its path below the root of the repository, and its text.
pub fn files() -> Result<Vec<(&'static str, String)>, Error> {
    Ok(vec![
        (CRD_PATH, crd_yaml()?),
        (CHART_CRD_PATH, chart_template()?),
        (REASONS_PATH, vocabulary::reasons_markdown()),
    ])
}

/// Why the CustomResourceDefinition could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule is not one that the API knows.
    #[error("failed to turn a validation rule into the form of the API")]
    Rule(#[source] serde_json::Error),
    /// The definition could not be written as YAML.
    #[error("failed to write the CustomResourceDefinition as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// The text cannot be made a template of Helm's as it is.
    #[error("failed to make a Helm template of the CustomResourceDefinition: {0}")]
    Template(&'static str),
}

/// The CustomResourceDefinition of a request.
///
/// Differs from what derive makes in a few ways. Rules about the name are added, since derive has no place for them
/// without kube's client crate. And nothing is `nullable`: an explicit null would defeat merge patches and
/// server-side apply, and an absent field says the same.
pub fn crd() -> Result<CustomResourceDefinition, Error> {
    let mut crd = NodeJoinRequest::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut()) {
            forbid_null(schema);
            schema.title = None;
            let name_rules = serde_json::to_value([rules::name_length(), rules::name_not_reserved()])
                .and_then(serde_json::from_value)
                .map_err(Error::Rule)?;
            schema.x_kubernetes_validations = Some(name_rules);
        }
    }
    Ok(crd)
}

/// The text of [`CRD_PATH`].
pub fn crd_yaml() -> Result<String, Error> {
    let yaml = serde_saphyr::to_string(&crd()?).map_err(Error::Yaml)?;
    Ok(format!("# Generated from crds/src by `cargo xtask generate`. Do not edit.\n{yaml}"))
}

/// The text of [`CHART_CRD_PATH`]: installed and kept as the chart's values say, with the chart's labels.
///
/// Fails when the definition contains what Helm would take for an instruction, or has metadata beside its name.
pub fn chart_template() -> Result<String, Error> {
    let crd = crd_yaml()?;
    if crd.contains("{{") {
        return Err(Error::Template("a text in it contains {{"));
    }
    let name = format!("metadata:\n  name: {}.{}\n", vocabulary::PLURAL, vocabulary::GROUP);
    let (before, after) = crd
        .split_once(&name)
        .ok_or(Error::Template("its metadata is not a name alone, before which the labels belong"))?;
    Ok(format!(
        "{{{{- if .Values.crds.enabled }}}}\n{before}{name}  \
         labels:\n    {{{{- include \"join-operator.labels\" . | nindent 4 }}}}\n  \
         {{{{- if .Values.crds.keep }}}}\n  \
         # Removing the type would remove every request.\n  \
         annotations:\n    helm.sh/resource-policy: keep\n  {{{{- end }}}}\n{after}{{{{- end }}}}\n"
    ))
}

/// Removes `nullable` from a schema and everything below it.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        forbid_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => forbid_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(several)) => several.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}
