// Asio's own code, compiled once.
#include "daemon/supervisor/asio.hpp"

#include <boost/asio/impl/src.hpp>
