//! Tokens with which workers join, asked of a master that encrypts.

use std::time::Duration;

use gristmill_common::wire::v1;
use gristmill_common::wire::v1::members_client::MembersClient;
use tonic::transport::Channel;

use super::{ClientError, JobsClient, QUESTION_TIMEOUT, timed};

impl JobsClient {
    /// New tokens to join with, one for each name, in order; an empty name lets the master choose one. They
    /// are secrets. Asked again after a lost answer, it makes others: the first ones are never used.
    ///
    /// # Errors
    ///
    /// If the master refuses or stays unreachable.
    pub async fn create_join_tokens(&self, names: &[String], life: Duration) -> Result<Vec<String>, ClientError> {
        let request = v1::CreateJoinTokensRequest { names: names.to_vec(), life_s: life.as_secs() };
        let ask = async |rpc: Channel| {
            MembersClient::new(rpc).create_join_tokens(timed(request.clone(), QUESTION_TIMEOUT)).await
        };
        Ok(self.ask(ask).await?.tokens)
    }
}
