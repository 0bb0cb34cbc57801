# The frontend's pods. The root file system may be read-only: it writes nothing but its database, elsewhere.

FROM python:3.11.17-slim-bookworm AS packages
RUN python -m venv /opt/venv && /opt/venv/bin/python -m pip install --no-cache-dir pip==26.3
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt --group frontend

FROM packages AS app
WORKDIR /app
COPY frontend frontend
RUN chmod -R a+rX /app && /opt/venv/bin/python -m pip uninstall --yes pip

FROM python:3.11.17-slim-bookworm
COPY --from=app /opt/venv /opt/venv
COPY --from=app /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV FRONTEND_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
CMD ["python", "-m", "frontend"]
