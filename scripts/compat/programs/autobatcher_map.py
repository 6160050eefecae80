"""Eight chat completions through autobatcher; prints the answers as one line of JSON.

In its 24-hour mode, or with `default` as the second word in its default mode, which polls background responses.
"""

import asyncio
import json
import sys

from autobatcher import BatchOpenAI


MODE = {} if sys.argv[2:] == ["default"] else {"completion_window": "24h"}


async def main():
    client = BatchOpenAI(
        base_url=sys.argv[1],
        api_key="none",
        batch_window_seconds=0.3,
        poll_interval_seconds=0.2,
        **MODE,
    )
    messages = [[{"role": "user", "content": f"auto-{n} says so"}] for n in range(8)]
    calls = [client.chat.completions.create(model="sim-model", messages=one) for one in messages]
    print(json.dumps([answer.choices[0].message.content for answer in await asyncio.gather(*calls)]))
    await client.close()


asyncio.run(main())
