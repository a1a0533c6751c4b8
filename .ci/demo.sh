#!/usr/bin/env bash
# The quickstart through MLflow, and where to look afterwards. `make demo` calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
export MLFLOW_DISABLE_TELEMETRY=true
output="$PWD/mixopt-runs/quickstart"
mlflow run . --env-manager=local --experiment-name quickstart -P output="$output" -P seed="${SEED:-0}"
cat <<END

The quickstart is done.
  proposal   $output/proposal.json
  exports    $output/exports/
  report     $output/report.html
  MLflow UI  .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db   (then http://127.0.0.1:5000)
END
