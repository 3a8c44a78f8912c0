#!/bin/bash
# Run a verb as the step of a job, and put the job back in the queue where it was interrupted: bash jobs/step.sh VERB ...
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun does not take it from sbatch

# The first process to leave must not have the others killed while they save; they get a while instead.
srun --kill-on-bad-exit=0 --wait=100 ${HDR_LAUNCHER:-} python -m hdr_lightning "$@"
code=$?

case $code in
    75) again=yes ;;                                      # saved
    138) ((${SLURM_RESTART_COUNT:-0} < 10)) && again=yes ;; # USR1 came while the program was starting
esac
if [[ ${again:-} ]]; then
    echo "job $job goes on in the queue"
    scontrol requeue "$job"
fi
exit $code
