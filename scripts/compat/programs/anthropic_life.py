"""Lives of message batches with PyPI's anthropic, unmodified: `anthropic_life.py BASE_URL SCENARIO`."""

import asyncio
import sys

from anthropic import Anthropic, AsyncAnthropic

from life import MODEL, messages, refused, run, texts, wait

client = Anthropic(base_url=sys.argv[1], api_key="none")


def request(text):
    return {
        "custom_id": text.split(" ")[0],
        "params": {"model": MODEL, "max_tokens": 50, "messages": messages(text)},
    }


def create(words, batches=client.messages.batches):
    return batches.create(requests=[request(text) for text in words])


def end(batch_id, batches=client.messages.batches):
    sums = set()

    def ask():
        now = batches.retrieve(batch_id)
        sums.add(sum(now.request_counts.to_dict().values()))
        return now if now.processing_status == "ended" else None

    batch = wait(f"the end of {batch_id}", ask)
    return batch, len(sums) == 1


def midway(batch_id, succeeded):
    wait(
        "half of the answers",
        lambda: client.messages.batches.retrieve(batch_id).request_counts.succeeded == succeeded,
    )


def story(batch_id, batches=client.messages.batches):
    """An ended batch and its results, as far as a client can see."""
    batch, steady = end(batch_id, batches)
    results = list(batches.results(batch_id))
    return {
        "counts": batch.request_counts.to_dict(),
        "steady": steady,
        "at": batch.ended_at is not None,
        "cancelled": batch.cancel_initiated_at is not None,
        "results": [[one.custom_id, one.result.type] for one in results],
        "own": all(
            one.custom_id in one.result.message.content[0].text for one in results if one.result.type == "succeeded"
        ),
        "errors": sorted({one.result.error.error.type for one in results if one.result.type == "errored"}),
        "messages": all(one.result.error.error.message for one in results if one.result.type == "errored"),
    }


def completed():
    return story(create([*texts("good", 20), *texts("poison", 2)]).id)


def beta():
    batches = client.beta.messages.batches
    return story(create([*texts("good", 2), *texts("poison", 1)], batches).id, batches)


def all_errored():
    return story(create(texts("poison", 3)).id)


def canceled():
    batch = create([*texts("good", 3), *texts("held", 3)])
    midway(batch.id, 3)
    said = client.messages.batches.cancel(batch.id).processing_status
    return {**story(batch.id), "said": said in ("canceling", "ended")}


def begun():
    batch = create([*texts("good", 3), *texts("held", 3)])
    midway(batch.id, 3)
    return batch.id


def refused_create():
    again = [request("a says so"), request("b says so"), request("a says so")]
    bad = {"custom_id": "x y", "params": {"model": MODEL, "max_tokens": 5, "messages": messages("x")}}
    return {
        "twice": refused(lambda: client.messages.batches.create(requests=again)),
        "custom_id": refused(lambda: client.messages.batches.create(requests=[request("a says so"), bad])),
        "none": refused(lambda: client.messages.batches.create(requests=[])),
        "unknown": refused(lambda: client.messages.batches.retrieve("msgbatch_unknown")),
    }


def lists():
    made = [create(texts("page", 1)).id for _ in range(5)]
    everything = [batch.id for batch in client.messages.batches.list(limit=2)]

    async def others():
        async with AsyncAnthropic(base_url=sys.argv[1], api_key="none") as other:
            return [batch.id async for batch in other.messages.batches.list(limit=3)]

    listed = asyncio.run(others())
    newer = [batch.id for batch in client.messages.batches.list(limit=2, before_id=made[0])]
    return {
        "newest_first": [one for one in everything if one in made] == made[::-1],
        "twice": len(everything) - len(set(everything)) + len(listed) - len(set(listed)),
        "async": [one for one in listed if one in made] == made[::-1],
        "back": sorted(one for one in newer if one in made) == sorted(made[1:]) and made[0] not in newer,
        "models": [model.id for model in client.models.list()],
    }


def streamed():
    batch = create(texts("stream", 300))
    early = refused(lambda: list(client.messages.batches.results(batch.id)))
    end(batch.id)

    async def ids():
        async with AsyncAnthropic(base_url=sys.argv[1], api_key="none") as other:
            return [one.custom_id async for one in await other.messages.batches.results(batch.id)]

    return {"ids": asyncio.run(ids()) == [f"stream-{number}" for number in range(300)], "early": early}


def deleted():
    batch = create([*texts("good", 1), *texts("held", 1)])
    midway(batch.id, 1)
    running = refused(lambda: client.messages.batches.delete(batch.id))
    early = refused(lambda: client.messages.batches.results(batch.id))
    client.messages.batches.cancel(batch.id)
    end(batch.id)
    gone = client.messages.batches.delete(batch.id)
    return {
        "running": running,
        "early": early,
        "type": gone.type,
        "after": [
            refused(lambda: client.messages.batches.retrieve(batch.id))["class"],
            refused(lambda: client.messages.batches.results(batch.id))["class"],
        ],
    }


run(
    {
        "completed": completed,
        "beta": beta,
        "all-errored": all_errored,
        "canceled": canceled,
        "begun": begun,
        "ended": story,
        "refused": refused_create,
        "lists": lists,
        "streamed": streamed,
        "deleted": deleted,
    }
)
