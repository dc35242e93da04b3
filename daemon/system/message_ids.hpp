// The events that the owner of the machine should know of. Programs look for these numbers in the
// journal (MESSAGE_ID=), so they stay as they are. contrib/vramswap.catalog explains each, and
// vramswapd(8) lists them; tests/docs/check_docs compares the three.
#pragma once

#include <string_view>

namespace vramswap::message_ids {

inline constexpr std::string_view kSwapOn = "857439320bda44dc9e6888d0d2a84050";
inline constexpr std::string_view kSwapOff = "5c6f2035b1fa4dda8fba4cfb7aceaa85";
inline constexpr std::string_view kTookOver = "2a81ec075ed94317984baa6ff24a313b";
inline constexpr std::string_view kWorkerDied = "abf8dde888bb4b5f9af2813784c470f7";
inline constexpr std::string_view kWorkerReplaced = "bfceb4dd25dd457c99f1ee2d14afbd17";
inline constexpr std::string_view kRecoveryFailed = "8ae9bf9004ba4b48911b7b275a0f1705";
inline constexpr std::string_view kPagesLost = "280c75fe9c4b407ca4728efef44b9497";
inline constexpr std::string_view kWrongBytes = "a0d981188fcd49ba938de7ae4a109163";
inline constexpr std::string_view kDisconnectedByOthers = "bebc1206db594b219e7d9232ed0ee38f";
inline constexpr std::string_view kSwappedOffByOthers = "eb6277771de64fdd8c836b7c34dd0b49";
inline constexpr std::string_view kDriverReplaced = "8bf3dc0ebbe1458f9fec1d4cb0d06e6f";
inline constexpr std::string_view kNoContextRoom = "083562cf851a431e8135e7ec01130e64";

}  // namespace vramswap::message_ids
