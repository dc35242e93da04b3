# shellcheck shell=bash
# Packages from the mirror that this machine's apt uses; apt's own lists and caches are not touched. For the
# scripts that fetch parts of the guests.

# Prints the site this machine's apt takes its distribution from. Matching the release's name leaves
# out third-party sources, which call their component "main" as well.
find_mirror() ( # DISTRIBUTION
  # shellcheck disable=SC1091
  . /etc/os-release
  [ "$ID" = "$1" ] || exit 0
  # shellcheck disable=SC2016 # the format's variables are apt's
  apt-get indextargets --format '$(IDENTIFIER) $(COMPONENT) $(RELEASE) $(SITE)' |
    awk -v release="${VERSION_CODENAME-}" '
      $1 == "Packages" && $2 == "main" && !site &&
        ($3 == release || $3 ~ /^(old)*stable$|^testing$/) { site = $4 }
      END { print site }'
)

# Makes DIR/apt.conf, for an apt that knows these suites only and takes nothing for installed.
prepare_apt() { # DIR DISTRIBUTION MIRROR SUITES [COMPONENTS]
  mkdir -p "$1"/{lists,archives}/partial
  : >"$1/status"
  cat >"$1/source.sources" <<END_OF_SOURCES
Types: deb
URIs: $3
Suites: $4
Components: ${5:-main}
Architectures: amd64
END_OF_SOURCES
  local keyring=/usr/share/keyrings/$2-archive-keyring.gpg
  if [ -e "$keyring" ]; then
    echo "Signed-By: $keyring" >>"$1/source.sources"
  fi
  cat >"$1/apt.conf" <<END_OF_CONF
Dir::State "$1";
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1";
Dir::Cache::archives "$1/archives";
Dir::Etc::sourcelist "$1/source.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END_OF_CONF
}

# Shared by the scripts that make CACHE_DIR/ARCHIVE.cpio of packages of this machine's own release.

skip() {
  echo "$archive skipped: $*"
  exit 77
}

# Ends the script if the archive is there and newer than the script. Sets $archive, $cache, $work, and $tree,
# which is an empty root with merged /usr.
begin_archive() { # ARCHIVE CACHE_DIR
  archive=$1
  if [ $# -ne 2 ]; then
    echo "usage: fetch_$archive CACHE_DIR" >&2
    exit 2
  fi
  mkdir -p "$2"
  cache=$(cd "$2" && pwd)

  exec 9>"$cache/lock-$archive"
  flock 9
  [ ! "$cache/$archive.cpio" -nt "$0" ] || exit 0

  local tool
  for tool in apt-get dpkg-deb cpio; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
  done
  work=$(mktemp -d "$cache/fetch-$archive.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  tree=$work/tree
  mkdir -p "$work/packages" "$tree"/usr/{bin,sbin,lib,lib64}
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$tree"
}

# Downloads to $work/packages all that an installation of these packages needs, as far as FILTER lets the names
# through. COMPONENTS are those of Ubuntu, whose main has not all of Debian's.
download_packages() { # COMPONENTS FILTER PACKAGE...
  local components=main filter=$2 mirror packages
  # shellcheck disable=SC1091
  . /etc/os-release
  [ "$ID" != ubuntu ] || components=$1
  shift 2
  mirror=$(find_mirror "$ID")
  [ -n "$mirror" ] || skip "apt on this machine has no $ID mirror"
  prepare_apt "$work/apt" "$ID" "$mirror" "$VERSION_CODENAME" "$components"

  apt-get -c "$work/apt/apt.conf" -qq update >"$work/log" 2>&1 ||
    skip "suite $VERSION_CODENAME cannot be reached ($(tail -n 1 "$work/log"))"
  mapfile -t packages < <(
    apt-get -c "$work/apt/apt.conf" -s --no-install-recommends install "$@" |
      awk '$1 == "Inst" { print $2 }' | "$filter"
  )
  (cd "$work/packages" &&
    apt-get -c "$work/apt/apt.conf" -qq download "${packages[@]}") >"$work/log" 2>&1 ||
    skip "$archive cannot be downloaded ($(tail -n 1 "$work/log"))"
}

unpack() { # PACKAGE...
  local package
  for package; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$tree"
  done
}

# Says which version of PACKAGE it was made of.
finish_archive() { # PACKAGE
  (cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$work/$archive.cpio"
  mv "$work/$archive.cpio" "$cache/$archive.cpio"
  (cd "$work/packages" && ls "$1"_*.deb)
}
