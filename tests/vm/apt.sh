# shellcheck shell=bash
# Packages from the mirror that this machine's apt uses, whose own lists and caches are not touched. For
# the scripts that fetch what the guests are made of.

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
