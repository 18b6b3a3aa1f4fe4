"""Processes that are measured while they run side by side, and whose rates add."""
import multiprocessing


def measure(processes, measured):
    """Calls measured(ready) in each of the processes, and returns the images/s of all together.

    `measured` warms up, calls ready(), which returns as soon as all are warm, runs for a time and returns its
    (images, seconds). A single one runs in this process.
    """
    if processes == 1:
        results = [measured(lambda: None)]
    else:
        # Forked before any of this process's threads is there: nothing is warm yet.
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(processes)
        receivers = []
        for _ in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            context.Process(target=_measure_and_send, args=(measured, barrier, sender), daemon=True).start()
            sender.close()  # so that a process that dies is noticed
            receivers.append(receiver)
        try:
            results = [receiver.recv() for receiver in receivers]
        except EOFError:
            raise SystemExit("one of the processes failed") from None
    return sum(images / seconds for images, seconds in results)


def _measure_and_send(measured, barrier, sender):
    # The others of one that failed don't wait for ever.
    sender.send(measured(lambda: barrier.wait(timeout=120)))
