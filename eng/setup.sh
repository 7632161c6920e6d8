#!/usr/bin/env bash
# Makes this clone ready to build: chooses the native engines, installs and builds what they need, restores the packages.
# Run it as often as you like: what is done is not done again, and needs no network. sapo and test call it themselves.
#
#   eng/setup.sh                      what is missing
#   eng/setup.sh --runtime local      with these engines: cuda, cpu, local (see eng/Runtime.props), or auto: choose anew
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/steps.sh"

choice_file="$root/eng/Runtime.local.props"
onnx="$root/runtimes/onnx"
torch="$root/runtimes/torch"
shim="$torch/build/libsapo_torch.so"
stamp="$state/setup.stamp"
asked=""

main() {
  read_arguments "$@"
  is_ready && return
  lock set-up
  is_ready && return
  if [ -f "$stamp" ]; then
    say "Bringing the set-up of $root up to date"
    rm -f "$stamp"
  else
    say "Setting up Sapo in $root (once; some minutes, most of them downloads)"
  fi
  check_sdk
  choose_engines
  if [ "$(chosen_engines)" = local ]; then
    install_system_packages
    install_onnx
    build_shim
  else
    say "[3-5/6] Nothing to install: the engines are packages"
  fi
  restore
  printf '%s' "$NUGET_PACKAGES" >"$state/packages-folder"
  inputs >"$stamp"
  say "Set-up is complete."
}

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --runtime) asked=${2:-}; shift ;;
      --runtime=*) asked=${1#*=} ;;
      -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) fail "Unknown option '$1'." "Known options: --runtime cuda|cpu|local|auto, --help." ;;
    esac
    [ $# -eq 0 ] || shift
    case $asked in
      "" | cuda | cpu | local | auto) ;;
      *) fail "--runtime is '$asked'; expected cuda, cpu, local or auto." ;;
    esac
  done
}

# ---- is everything there?

# Everything set-up depends on, as one line.
inputs() {
  {
    printf '%s\n' "$NUGET_PACKAGES" "${TORCH_ROOT:-}"
    find "$root/src" "$root/tests" "$root/tools" "$root/runtimes" \( -name bin -o -name obj -o -name node_modules -o -name golden -o -name build \) -prune \
      -o \( -name '*.csproj' -o -path "$torch/native/*" \) -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    sha256sum "$root"/eng/*.sh "$root"/eng/*.props "$root"/Directory.* "$root"/global.json "$root"/*.sln \
      "$root"/tests/Directory.* "$onnx"/package-lock.json "$onnx"/Packages.*
  } 2>/dev/null | sed "s|$root/||" | sha256sum
}

is_ready() {
  local project
  [ -z "$asked" ] || [ "$asked" = "$(chosen_engines)" ] || return 1
  [ -f "$choice_file" ] && [ -f "$stamp" ] && [ -d "$NUGET_PACKAGES" ] && [ "$(<"$stamp")" = "$(inputs)" ] || return 1
  if [ "$(chosen_engines)" = local ]; then
    has_onnx && [ -f "$shim" ] || return 1
  fi
  for project in "$root"/src/*/ "$root"/tools/*/ "$root"/tests/*.Tests/; do
    [ -f "$project/obj/project.assets.json" ] || return 1
  done
}

# ---- 1 and 2: the SDK and the engines

check_sdk() {
  local version
  version=$(cd -- "$root" && dotnet --version 2>/dev/null) ||
    fail "The .NET SDK that global.json asks for ($(grep -o '"version": *"[^"]*"' "$root/global.json")) is not installed; found: $(dotnet --list-sdks | cut -d' ' -f1 | tr '\n' ' ')" \
      "Install the .NET 10 SDK (Debian, Ubuntu: apt-get install dotnet-sdk-10.0; others: https://dotnet.microsoft.com/download) and run this again."
  say "[1/6] .NET SDK $version"
}

chosen_engines() { sed -n "s|.*<SapoRuntime[^>]*>\(.*\)</SapoRuntime>.*|\1|p" "$choice_file" 2>/dev/null || true; }

choose_engines() {
  local candidates="cpu" machine="no GPU" candidate
  case $asked in
    cuda | cpu | local) write_choice "$asked" "it was asked for"; return ;;
    "") if [ -n "$(chosen_engines)" ]; then say "[2/6] Engines: $(chosen_engines), as chosen before"; return; fi ;;
  esac
  if has_gpu; then candidates="cuda cpu" machine="a GPU"; fi
  for candidate in $candidates; do
    if try_step "[2/6] Engines: trying the $candidate packages" restore_engines "$candidate"; then
      write_choice "$candidate" "this machine has $machine, and the packages can be restored"
      return
    fi
  done
  if grep -q NU1301 "$step_log"; then
    write_choice local "the package feed cannot be reached"
  else
    write_choice local "the package feed has no $candidates packages: $(grep -oE 'NU1101: Unable to find package [^ ]+|NU[0-9]+|MSB[0-9]+' "$step_log" | head -n 1 | sed 's/.*package //; s/\.$//')"
  fi
}

has_gpu() { [ -e /dev/nvidia0 ] || { command -v nvidia-smi && nvidia-smi -L; } >/dev/null 2>&1; }

# Restores a project that needs nothing but the engines, outside of the clone so that none of its settings take part.
restore_engines() {
  local folder code=0
  folder=$(mktemp -d)
  cat >"$folder/engines.csproj" <<'PROJECT'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <TargetFramework>net10.0</TargetFramework>
    <SapoEngines>onnx;torch</SapoEngines>
  </PropertyGroup>
  <Import Project="$(RepositoryRoot)eng/Runtime.props" />
</Project>
PROJECT
  cp "$root/Directory.Packages.props" "$folder"
  dotnet restore "$folder/engines.csproj" "-p:RepositoryRoot=$root/" "-p:SapoRuntime=$1" || code=$?
  rm -rf "$folder"
  return "$code"
}

# A choice made without a complete set-up is no choice: the next run looks again.
write_choice() {
  say "[2/6] Engines: $1, because $2"
  cat >"$choice_file" <<PROPS
<Project>
  <!-- Written by eng/setup.sh, because $2. Its option "runtime" changes it. -->
  <PropertyGroup>
    <SapoRuntime Condition="'\$(SapoRuntime)' == ''">$1</SapoRuntime>
  </PropertyGroup>
</Project>
PROPS
  trap '[ -f "$stamp" ] || rm -f "$choice_file"' EXIT
}

# ---- 3 to 5: the local engines

has_onnx() {
  local marker="$onnx/node_modules/.sapo-installed"
  [ -f "$marker" ] && [ "$(<"$marker")" = "$(sha256sum <"$onnx/package-lock.json")" ]
}

# The torch folder of a Python installation, or nothing. A machine's own libtorch comes first, unless only Python's knows the GPU.
python_torch() {
  local folder
  folder=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) || return 0
  if [ -f "$folder/include/ATen/ATen.h" ]; then printf '%s' "$folder"; fi
}

find_torch_root() {
  local folder
  if [ -n "${TORCH_ROOT:-}" ]; then printf '%s' "$TORCH_ROOT"; return; fi
  folder=$(python_torch)
  if has_system_torch && ! { has_gpu && [ -f "$folder/lib/libtorch_cuda.so" ]; }; then return; fi
  printf '%s' "$folder"
}

has_system_torch() { [ -f /usr/include/ATen/ATen.h ] || [ -f /usr/local/include/ATen/ATen.h ]; }

missing_system_packages() {
  command -v cmake >/dev/null || echo cmake
  command -v make >/dev/null || echo make
  command -v c++ >/dev/null || echo g++
  has_onnx || command -v npm >/dev/null || echo nodejs npm
  if [ -z "$(find_torch_root)" ]; then
    has_system_torch || echo libtorch-dev
    # Without it libtorch takes the reference BLAS, many times slower.
    compgen -G '/usr/lib/*/openblas*/libblas.so*' >/dev/null || [ -d /usr/local/include/ATen ] || echo libopenblas0-pthread
  fi
}

install_system_packages() {
  local packages title
  packages=$(missing_system_packages | tr '\n' ' ')
  if [ -z "$packages" ]; then
    say "[3/6] System packages: all there"
    return
  fi
  packages=${packages% }
  command -v apt-get >/dev/null ||
    fail "Missing on this machine: $packages (Debian's names), and there is no apt-get to install them with." \
      "Install them with this system's package manager (libtorch also as Python's torch: set TORCH_ROOT to its folder), and run this again."
  [ "$(id -u)" = 0 ] ||
    fail "Missing on this machine: $packages, and only root may install them." \
      "Run this, and then the same command as before:  sudo apt-get update && sudo apt-get install -y $packages"
  title="[3/6] Installing system packages: $packages"
  run_step "$title" "With a network, run the same command again; without one, install these packages: $packages" apt_install $packages
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  local options=(-y --no-install-recommends -o DPkg::Lock::Timeout=300)
  apt-get install "${options[@]}" "$@" || { apt-get update && apt-get install "${options[@]}" "$@"; }
}

install_onnx() {
  if has_onnx; then
    say "[4/6] ONNX Runtime and GenAI: installed"
    return
  fi
  run_step "[4/6] Downloading ONNX Runtime and GenAI (about 230 MB)" \
    "With a network, run the same command again. Behind a proxy, set HTTPS_PROXY, or npm's registry to a mirror." npm_install
}

# A step's command runs where bash ignores "set -e": each line says what happens when it fails.
npm_install() {
  cd -- "$onnx" || return
  npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
    --fetch-retries=2 --fetch-retry-mintimeout=2000 --fetch-retry-maxtimeout=5000 || return
  # 500 MB of libraries for other systems.
  rm -rf node_modules/*/Plugins/{macOS,Windows,Android,iOS~}
  sha256sum <package-lock.json >node_modules/.sapo-installed
}

build_shim() {
  run_step "[5/6] Building the libtorch shim" \
    "Look at the messages above: another libtorch than expected? TORCH_ROOT names the torch folder of a Python installation to use instead." cmake_build
}

cmake_build() {
  local options=(-S "$torch/native" -B "$torch/build" -DCMAKE_BUILD_TYPE=Release "-DTORCH_ROOT=$(find_torch_root)")
  # A build folder that was moved, or made for another libtorch, is of no use.
  cmake "${options[@]}" || { rm -rf "$torch/build" && cmake "${options[@]}"; } || return
  cmake --build "$torch/build" --parallel "$(nproc)"
}

# ---- 6: the packages

restore() {
  run_step "[6/6] Restoring the .NET packages" \
    "With a network, run the same command again. NUGET_PACKAGES may name a folder that holds them already." in_root dotnet restore Sapo.Hybrid.sln -v quiet
}

main "$@"
