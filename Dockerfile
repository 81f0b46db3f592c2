# The service without a database: DATABASE_URL names one. See docs/scaling.md.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /service
COPY requirements.txt requirements-buses.txt constraints.txt ./
RUN pip install -c constraints.txt -r requirements-buses.txt \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY manage.py pyproject.toml ./
COPY endpoints endpoints
COPY event_service event_service
COPY routing routing
RUN python -m compileall -q endpoints event_service routing

USER 10001
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/tmp/event-service
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "manage.py"]
CMD ["serve"]
