"""Makes the workers of a first attempt go no further than a step, so that a test has the time to disturb them there."""

import os
import time

if "RANK" in os.environ and os.environ.get("PRIMUS_ATTEMPT", "1") == "1":
    from primus.backends.worker import Worker

    usual = Worker.step_done

    def held(self, step):
        usual(self, step)
        while step == int(os.environ["HOLD_AFTER"]):
            time.sleep(0.01)

    Worker.step_done = held
