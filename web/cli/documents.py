"""The operations that the command line sends."""

from __future__ import annotations

SEND = """
mutation Send($input: SendMessageInput!) {
  result: sendMessage(input: $input) {
    __typename
    ... on SendMessagePayload { process { pid sessionId capability } }
    ... on Error { message }
  }
}
"""

ANSWER = """
mutation Answer($input: RespondToInterruptInput!) {
  result: respondToInterrupt(input: $input) {
    __typename
    ... on AnswerPayload { process { pid } }
    ... on Error { message }
  }
}
"""

INTERRUPT = """
query Interrupt($id: ID!) { node(id: $id) { ... on Interrupt { interruptId } } }
"""

QUESTIONS = """
query Questions($after: String) {
  interrupts(after: $after) {
    nodes { interruptId kind question options expiresAt sessionId }
    pageInfo { hasNextPage endCursor }
  }
}
"""

CANCEL = """
mutation Cancel($input: CancelProcessInput!) {
  result: cancelProcess(input: $input) {
    __typename
    ... on CancelProcessPayload { process { pid } }
    ... on Error { message }
  }
}
"""

PROCESS = """
query Process($id: ID!) {
  process(id: $id) { outcome reason error reply replyMessage { data } }
}
"""

CLEAN_UP = """
mutation CleanUp($input: CleanUpInput!) {
  result: cleanUp(input: $input) {
    __typename
    ... on CleanUpPayload { processes steps events }
    ... on Error { message }
  }
}
"""

CAPABILITIES = """
query Capabilities { capabilities { name } }
"""

EVENTS = """
subscription Events($id: ID!, $after: String) {
  processEvents(processId: $id, after: $after) { cursor type payload }
}
"""
