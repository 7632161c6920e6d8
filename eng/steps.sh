# Sourced by eng/setup.sh, sapo and test: where things are, the environment dotnet and npm need, steps that show how far
# they are, and fingerprints that tell whether something must be done again. What the steps do is quiet: it goes to
# .sapo/logs. Everything said here goes to the standard error, so that the program's own output stays clean.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
state="$root/.sapo" # git-ignored: logs, fingerprints, locks
program="$root/tools/Sapo.Cli/bin/Release/net10.0/sapo.dll"
program_sources=("$root/src" "$root/tools/Sapo.Cli" "$root/runtimes")

say() { printf '%s\n' "$*" >&2; }

# A mistake or a lack that the user can mend: what was found, what to do. Exit code 2.
fail() {
  say "$1"
  [ $# -lt 2 ] || say "$2"
  exit 2
}

{ mkdir -p "$state/logs" && [ -w "$state/logs" ]; } 2>/dev/null ||
  fail "Cannot write to $root." "Give this user the right to write there, or clone into a folder of its own."

# dotnet, NuGet and npm keep files under HOME; a service or a container may have none, or one that cannot be written.
prepare_home() {
  if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6) || HOME=""
  fi
  if [ -z "$HOME" ] || ! mkdir -p "$HOME" 2>/dev/null || [ ! -w "$HOME" ]; then
    HOME="$state/home"
    mkdir -p "$HOME"
  fi
  export HOME
}

# A folder of NuGet packages that an earlier set-up filled is used again, even where HOME is another one by now: no
# network is needed then.
prepare_packages_folder() {
  local remembered=""
  if [ -f "$state/packages-folder" ]; then remembered=$(<"$state/packages-folder"); fi
  if [ -z "${NUGET_PACKAGES:-}" ]; then
    if [ -n "$remembered" ] && [ -d "$remembered" ] && [ -w "$remembered" ]; then
      NUGET_PACKAGES=$remembered
    else
      NUGET_PACKAGES="$HOME/.nuget/packages"
    fi
  fi
  export NUGET_PACKAGES
}

prepare_dotnet() {
  local folder
  if ! command -v dotnet >/dev/null; then
    for folder in "${DOTNET_ROOT:-}" "$HOME/.dotnet" /usr/share/dotnet /usr/lib/dotnet /usr/local/share/dotnet /opt/dotnet; do
      if [ -n "$folder" ] && [ -x "$folder/dotnet" ]; then
        PATH="$folder:$PATH"
        break
      fi
    done
  fi
  command -v dotnet >/dev/null ||
    fail "The .NET 10 SDK is not installed: no dotnet command was found." \
      "Install it (Debian, Ubuntu: apt-get install dotnet-sdk-10.0; others: https://dotnet.microsoft.com/download) and run this again."
  export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_WORKLOAD_UPDATE_NOTIFY_DISABLE=1
  # Build processes that stay behind would hold locks and memory.
  export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0
}

prepare_home
prepare_packages_folder
prepare_dotnet

# Runs a command behind one line that counts its seconds.
#   run_step <title> <remedy> <command> [arguments]
# Where it fails, the end of its output, the remedy, and exit code 2.
run_step() {
  local title=$1 remedy=$2
  shift 2
  try_step "$title" "$@" && return
  say "---- the last lines of $step_log"
  tail -n 12 "$step_log" >&2
  say "----"
  fail "Failed: $title" "$remedy"
}

# The same without an end: returns the command's exit code. step_log is where its output went.
try_step() {
  local title=$1 started=$SECONDS child code=0 spoken=0
  shift
  step_log=$(printf '%s' "$title" | tr -cs 'A-Za-z0-9' '-')
  step_log="$state/logs/${step_log#-}.log"
  # A process group of its own, so that Ctrl-C ends all of it. No lock is inherited: a compiler server would keep it.
  set -m
  ("$@") >"$step_log" 2>&1 </dev/null 8>&- 9>&- &
  child=$!
  set +m
  trap 'kill -TERM -- "-$child" 2>/dev/null || true; say ""; say "Interrupted. Run the same command again to go on."; exit 130' INT TERM
  [ -t 2 ] || say "$title ..."
  while kill -0 "$child" 2>/dev/null; do
    if [ -t 2 ]; then
      printf '\r\033[K%s ... %d s' "$title" $((SECONDS - started)) >&2
    elif [ $((SECONDS - started)) -ge $((spoken + 30)) ]; then
      spoken=$((SECONDS - started))
      say "$title ... $spoken s"
    fi
    sleep 0.2
  done
  wait "$child" || code=$?
  trap - INT TERM
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  if [ "$code" = 0 ]; then say "$title: done ($((SECONDS - started)) s)"; fi
  return "$code"
}

# Waits until no other process holds the lock of this name; it is held until this process ends or calls unlock.
lock() {
  command -v flock >/dev/null || return 0
  exec 9>"$state/$1.lock"
  if ! flock -n 9; then
    say "Waiting for another $1 in $root ..."
    flock 9
  fi
}

unlock() { exec 9>&-; }

# One line that changes when a file below the paths given appears, changes or goes. Outputs of builds do not count.
fingerprint() {
  find "$@" \( -name bin -o -name obj -o -name node_modules -o -name TestResults -o -path "$root/runtimes/torch/build" -o -path "$root/tests/golden" \) -prune \
    -o -type f -printf '%p %T@ %s\n' 2>/dev/null | LC_ALL=C sort | sha256sum | cut -d' ' -f1
}

# What every build depends on, besides the folders it names itself.
build_fingerprint() {
  local shim="$root/runtimes/torch/build/libsapo_torch.so"
  fingerprint "$@" "$root/eng" "$root"/Directory.* "$root/global.json" "$root/.editorconfig"
  if [ -f "$shim" ]; then stat -L -c '%Y %s' "$shim"; fi
}

# Builds a project or solution in Release unless the files of the named folders are those of the last time.
#   build_release <name> <project or solution> <a product of it> <folder> [folders]
# Returns the build's exit code; its output is in step_log.
build_release() {
  local name=$1 target=$2 product=$3 current
  shift 3
  is_built "$name" "$product" "$@" && return
  "$root/eng/setup.sh" || exit $?
  lock build
  current=$(build_fingerprint "$@")
  if ! is_built "$name" "$product" "$@"; then
    try_step "Building $name" in_root dotnet build "$target" -c Release --no-restore -nologo -v quiet -clp:NoSummary -warnaserror || return
    printf '%s' "$current" >"$state/$name.built"
  fi
  unlock
}

is_built() {
  local name=$1 product=$2
  shift 2
  [ -f "$product" ] && [ -f "$state/$name.built" ] && [ "$(<"$state/$name.built")" = "$(build_fingerprint "$@")" ]
}

# global.json and nuget.config are looked for from the working folder upwards.
in_root() {
  cd -- "$root" || return
  "$@"
}
