# SPDX-License-Identifier: MIT
# ranks N COMMAND...: more ranks than cores, and perhaps as root in a container.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
ranks() { "$HEED_MPIEXEC" -np "$@"; }
