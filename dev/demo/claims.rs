//! Fills a claim: a restricted pod runs `rag receive`, and a tar goes to its standard input.
//!
//! Why so: the image holds no shell and no tar, and this works on any cluster that `kubectl attach` reaches.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::cluster::Cluster;
use super::objects::{Look, delete, wait, wait_gone};

/// Writes `files` (path on the claim, file here) to a claim.
pub async fn fill(cluster: &Cluster, namespace: &str, claim: &str, files: Vec<(String, PathBuf)>) -> Result<()> {
    let tar = tokio::task::spawn_blocking(move || archive(&files)).await??;
    fill_bytes(cluster, namespace, claim, tar).await.with_context(|| format!("cannot fill the claim {claim}"))
}

fn archive(files: &[(String, PathBuf)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, file) in files {
        let body = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        append(&mut tar, path, &body)?;
    }
    Ok(tar.into_inner()?)
}

/// Adds one file to a tar.
pub fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, body: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(body.len())?);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, body)?;
    Ok(())
}

/// Writes a tar to a claim.
pub async fn fill_bytes(cluster: &Cluster, namespace: &str, claim: &str, tar: Vec<u8>) -> Result<()> {
    let name = format!("fill-{claim}");
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    delete(&pods, &name).await?;
    wait_gone(pods.clone(), &name, Duration::from_secs(60)).await?;
    pods.create(&PostParams::default(), &pod(&name, claim, &cluster.image)?).await?;
    wait(pods.clone(), &name, "the pod that receives files", Duration::from_secs(90), |pod| {
        let words = state(pod);
        Ok(match words.as_str() {
            "Running" => Look::Done(()),
            "Failed" | "Succeeded" => bail!("the pod ended before it got anything"),
            _ => Look::NotYet(words),
        })
    })
    .await?;
    send(cluster, namespace, &name, &tar).await?;
    wait(pods.clone(), &name, "`rag receive` to end well", Duration::from_secs(60), |pod| {
        let words = state(pod);
        Ok(match words.as_str() {
            "Succeeded" => Look::Done(()),
            "Failed" => bail!("`rag receive` failed: {}", last_words(pod)),
            _ => Look::NotYet(words),
        })
    })
    .await?;
    delete(&pods, &name).await
}

async fn send(cluster: &Cluster, namespace: &str, pod: &str, tar: &[u8]) -> Result<()> {
    let mut child = cluster
        .kubectl()
        .args(["attach", "--namespace", namespace, "--stdin", "--quiet", pod])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
    let talk = async {
        stdin.write_all(tar).await?;
        stdin.shutdown().await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let done = tokio::time::timeout(Duration::from_secs(120), talk)
        .await
        .context("kubectl attach did not end within 120 s")??;
    ensure!(done.status.success(), "kubectl attach failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

fn state(pod: Option<&Pod>) -> String {
    pod.and_then(|p| p.status.as_ref()?.phase.clone()).unwrap_or_else(|| "no pod".to_owned())
}

fn last_words(pod: Option<&Pod>) -> String {
    pod.and_then(|p| {
        let status = p.status.as_ref()?.container_statuses.as_ref()?.first()?;
        status.state.as_ref()?.terminated.as_ref()?.message.clone()
    })
    .unwrap_or_else(|| "it left no message".to_owned())
}

fn pod(name: &str, claim: &str, image: &str) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}
            },
            "containers": [{
                "name": "rag", "image": image, "imagePullPolicy": "IfNotPresent",
                "args": ["receive", "--to", "/data"], "stdin": true, "stdinOnce": true,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}
                },
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        }
    }))?)
}
