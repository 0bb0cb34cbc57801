"""The log of requests, without what people search for."""

import logging


class WithoutQueries(logging.Filter):
    """Cuts the query off the addresses that uvicorn logs: what users type is not logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass. uvicorn's arguments: client, method, address, version, status."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, address, *rest = record.args
            record.args = (client, method, str(address).partition("?")[0], *rest)
        return True


_WITHOUT_QUERIES = WithoutQueries()


def log_no_queries() -> None:
    """To be called once uvicorn has set its loggers up; again does no harm."""
    logging.getLogger("uvicorn.access").addFilter(_WITHOUT_QUERIES)
